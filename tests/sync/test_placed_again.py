"""Dated streams that turn out to stand in the wrong place are placed again, with a declared gap."""

import numpy as np
import pytest

from edgerec.audio import TRACKS, Block, BlockFlags, DeviceFrame, GapReason, StreamHeader
from edgerec.sync.dated_clock import MISPLACED_S, PATIENCE_S
from edgerec.sync.history import History
from edgerec.sync.synchronizer import Synchronizer, TrackPlan, history_frames

RATE = 16_000
BLOCK = 1_600
S = 1_000_000_000
EPOCH_NS = 100 * S
LATE_S = 0.8
PULSE_S = 1.0
"""One device says with an impulse a second which of its frames it is."""


class Kiosk:
    """Two devices whose blocks arrive when they are sampled; the user's are dated as told."""

    def __init__(self):
        plans = dict.fromkeys(TRACKS, TrackPlan())
        self.synchronizer = Synchronizer(plans, late_s=LATE_S, drift_memory={})
        for track, dated in zip(TRACKS, (True, False), strict=True):
            header = StreamHeader(RATE, 1, track, track, "monotonic_raw", dated=dated)
            self.synchronizer.deliver(track, header)
        self.history = History(history_frames(RATE, 60))
        self.synchronizer.begin(EPOCH_NS, RATE, self.history)
        self._block = 0
        self._lost = 0

    def go_on(self, seconds, *, off_s=0.0, is_dated=True, lost=0, overflow=False):
        """Deliver both tracks' blocks; the dates of the user's say that all was `off_s` later."""
        self._lost += lost
        for nth in range(round(seconds * RATE / BLOCK)):
            start = self._block * BLOCK + self._lost
            frames = np.arange(start, start + BLOCK)
            pcm = np.where(frames % RATE == 0, 9999, 0).astype("<i2")
            end_ns = EPOCH_NS + (start + BLOCK) * S // RATE
            adc_ns = EPOCH_NS + start * S // RATE + round(off_s * S)
            flags = BlockFlags.OVERFLOW if overflow and nth == 0 else 0
            user = Block(
                DeviceFrame(start - self._lost), BLOCK, end_ns, adc_ns if is_dated else 0,
                flags, pcm.tobytes(), 1000 if is_dated else 0,
            )  # fmt: skip
            bot = Block(DeviceFrame(start), BLOCK, end_ns, 0, 0, pcm.tobytes())
            for track, block in zip(TRACKS, (user, bot), strict=True):
                self.synchronizer.deliver(track, block)
            self._block += 1
            while self.synchronizer.advance(end_ns):
                pass

    def finish(self):
        """Return where the user's impulses are, in seconds, and its gaps by reason, in frames."""
        end = self.synchronizer.finish()
        span = self.history.read(0, end)
        user = TRACKS.index("user")
        loud = np.flatnonzero(span.pcm[user] > 5000)
        codes, frames = np.unique(span.reasons[user], return_counts=True)
        gaps = {GapReason(code): int(n) for code, n in zip(codes, frames, strict=True) if code}
        return loud / RATE, gaps


def off_second(at_s):
    return abs(at_s - np.rint(at_s))


def test_a_dated_stream_stands_where_its_dates_say_from_the_first_frame():
    kiosk = Kiosk()
    kiosk.go_on(10, off_s=0.3)
    at_s, gaps = kiosk.finish()
    # The first 0.3 s of the timeline were before the device began: silence for want of a device.
    assert np.allclose(at_s % 1, 0.3, atol=2 / RATE)
    assert set(gaps) == {GapReason.ABSENT}


@pytest.mark.parametrize("off_s", [0.2, -0.2])
def test_a_stream_that_began_with_wrong_dates_is_placed_again_at_once(off_s):
    kiosk = Kiosk()
    kiosk.go_on(2, off_s=off_s)
    kiosk.go_on(8)
    at_s, gaps = kiosk.finish()
    late = at_s[at_s > 3]
    assert len(late) >= 6
    assert off_second(late).max() < 0.001
    declared = gaps.get(GapReason.RESYNC, 0) + gaps.get(GapReason.XRUN, 0)
    assert declared >= 0.01 * RATE
    assert (GapReason.RESYNC in gaps) == (off_s > 0)  # it stood too late; else frames seem lost


def test_less_than_can_be_bent_back_in_five_seconds_makes_no_gap():
    kiosk = Kiosk()
    kiosk.go_on(5, off_s=0.8 * MISPLACED_S)
    kiosk.go_on(15)
    at_s, gaps = kiosk.finish()
    assert off_second(at_s[at_s > 17]).max() < 0.001
    assert not {GapReason.RESYNC, GapReason.XRUN} & set(gaps)


def test_frames_lost_behind_an_overflow_are_as_many_as_the_dates_say():
    kiosk = Kiosk()
    lost = 777
    kiosk.go_on(5)
    kiosk.go_on(5, lost=lost, overflow=True)
    at_s, gaps = kiosk.finish()
    assert off_second(at_s).max() < 0.001
    assert gaps[GapReason.XRUN] == pytest.approx(lost, abs=2)


def test_without_dates_it_stands_by_arrivals_and_moves_once_there_are_some():
    kiosk = Kiosk()
    kiosk.go_on(PATIENCE_S + 2, is_dated=False)
    kiosk.go_on(6, off_s=-0.1)
    at_s, gaps = kiosk.finish()
    assert np.allclose(at_s[at_s > PATIENCE_S + 3.5] % 1, 0.9, atol=0.001)
    assert gaps[GapReason.RESYNC] >= 0.01 * RATE


@pytest.mark.parametrize("off_s", [1e6, -90.0])
def test_a_date_that_no_server_can_mean_is_none_and_the_stream_goes_on(off_s):
    kiosk = Kiosk()
    kiosk.go_on(5)
    kiosk.go_on(5, off_s=off_s)
    at_s, gaps = kiosk.finish()
    assert len(at_s) >= 9
    assert off_second(at_s).max() < 0.001
    assert not {GapReason.RESYNC, GapReason.XRUN} & set(gaps)

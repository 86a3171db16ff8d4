"""Faults that look like audio, and audio that looks like a fault, second by second."""

import numpy as np
import pytest

from edgerec.audio import TRACKS, GapReason, Span, TimelineFrame, TrackReport
from edgerec.health.signal_quality import CORRELATE_EVERY, PATIENCE, SignalQuality
from edgerec.simulation.conversation import conversation
from edgerec.simulation.device import DeviceModel
from edgerec.simulation.kiosk import VirtualKiosk
from tests.rigs.alignment import noise

RATE = 16_000
ROOM = 2_000.0  # of a microphone's noise, here: rms


class Kiosk:
    """A signal quality that is shown one second after the other."""

    def __init__(self, continuous=TRACKS):
        self.quality = SignalQuality(continuous)
        self.second = 0

    def hears(self, seconds, user, bot, gap_frames=0, gains_db=()):
        """Let both tracks be what these functions make of the number of a second."""
        for _ in range(seconds):
            pcm = np.stack([np.clip(f(self.second), -32_768, 32_767) for f in (user, bot)])
            reasons = np.zeros((2, RATE), np.uint8)
            reasons[:, :gap_frames] = GapReason.STALL
            start = TimelineFrame(self.second * RATE)
            reports = {
                name: TrackReport(fold_gain_db=gain) for name, gain in dict(gains_db).items()
            }
            self.quality.listen(Span(start, pcm.astype(np.int16), reasons), RATE, reports)
            self.second += 1
        return self.codes()

    def codes(self):
        return [(reason.code, reason.track) for reason in self.quality.warnings]


def room(second, seed=0):
    return noise(RATE, RATE, 1_000 * seed + second) * ROOM


def speaker(second):
    return room(second, seed=1)


def silence(second):
    return np.zeros(RATE)


def too_loud(second):
    return room(second, seed=2) * 300


def stuck(frames):
    """A buffer that a driver delivers over and over, on a clock of its own."""
    block = noise(frames, RATE, 7) * ROOM

    def sound(second):
        at = (second * RATE + np.arange(RATE)) * 1.00004 % frames
        return np.interp(at, np.arange(frames + 1), np.append(block, block[0]))

    return sound


def tone(second):
    return 9_000 * np.sin(2 * np.pi * 441.3 * (second + np.arange(RATE) / RATE))


def test_a_room_and_a_loudspeaker_are_no_fault():
    assert Kiosk().hears(100, room, speaker) == []


def test_a_minute_of_zeros_is_a_muted_microphone_and_over_with_the_first_sound():
    kiosk = Kiosk()
    assert kiosk.hears(59, silence, speaker) == []
    assert kiosk.hears(1, silence, speaker) == [("silent", "user")]
    (reason,) = kiosk.quality.warnings
    assert reason.why == "the user track has been digital silence for 60 s"
    assert reason.hint
    assert kiosk.hears(1, room, speaker) == []


def test_a_loudspeaker_may_be_silent_but_not_for_long_while_there_is_something_to_hear():
    kiosk = Kiosk()
    assert kiosk.hears(899, room, silence) == []
    assert kiosk.hears(1, room, silence) == [("silent", "bot")]

    def quiet(second):
        return room(second) / 300

    kiosk = Kiosk()
    assert kiosk.hears(1_000, quiet, silence) == []


@pytest.mark.parametrize("track", TRACKS)
def test_silence_of_a_source_that_speaks_only_at_times_is_no_fault(track):
    kiosk = Kiosk(continuous=[name for name in TRACKS if name != track])
    sounds = {"user": room, "bot": speaker, track: silence}
    assert kiosk.hears(1_000, sounds["user"], sounds["bot"]) == []


def test_a_gap_is_told_elsewhere_and_teaches_nothing():
    kiosk = Kiosk()
    assert kiosk.hears(120, silence, silence, gap_frames=1) == []


def test_clipping_again_and_again_is_a_gain_and_goes_a_minute_after_the_last():
    kiosk = Kiosk()
    for _ in range(9):
        assert kiosk.hears(1, too_loud, speaker) == []
        assert kiosk.hears(20, room, speaker) == []
    assert kiosk.hears(1, too_loud, speaker) == [("clipped", "user")]
    assert kiosk.hears(59, room, speaker) == [("clipped", "user")]
    assert kiosk.hears(1, room, speaker) == []


def test_a_slammed_door_is_no_clipping():
    def door(second):
        sound = room(second)
        sound[:15] = 40_000  # 1 ms
        return sound

    assert Kiosk().hears(30, door, speaker) == []


@pytest.mark.parametrize("frames", [480, 1_373, 4_800])
def test_a_buffer_over_and_over_is_a_stuck_driver(frames):
    kiosk = Kiosk()
    assert kiosk.hears(29, stuck(frames), speaker) == []
    assert kiosk.hears(1, stuck(frames), speaker) == [("stuck", "user")]
    assert kiosk.hears(CORRELATE_EVERY, room, speaker) == []


def test_a_constant_is_stuck_and_silence_is_something_else():
    assert Kiosk().hears(30, lambda second: np.full(RATE, -700.0), silence) == [("stuck", "user")]


def test_a_tone_is_a_tone_even_on_both_tracks():
    assert Kiosk().hears(60, tone, tone) == []


@pytest.mark.parametrize("lag", [0, 40, -3_000])
def test_a_loopback_that_is_the_microphone_is_found_whatever_its_delay_and_gain(lag):
    whole = noise(100 * RATE, RATE, 3) * ROOM

    def heard(shift, gain):
        return lambda second: gain * whole[(second + 2) * RATE + shift :][:RATE]

    kiosk = Kiosk()
    assert kiosk.hears(29, heard(0, 1), heard(lag, -0.5)) == []
    assert kiosk.hears(1, heard(0, 1), heard(lag, -0.5)) == [("identical", "bot")]
    assert kiosk.hears(CORRELATE_EVERY, room, speaker) == []


@pytest.mark.parametrize("track", TRACKS)
def test_channels_that_cancel_are_told_after_half_a_minute_with_what_to_set(track):
    kiosk = Kiosk()
    unrelated, cancel, unheard = {track: 0.0}, {track: -20.0}, {track: None}
    assert kiosk.hears(60, room, speaker, gains_db=unrelated) == []
    assert kiosk.hears(29, room, speaker, gains_db=cancel) == []
    assert kiosk.hears(60, room, speaker, gains_db=unheard) == []  # says nothing
    assert kiosk.hears(1, room, speaker, gains_db=cancel) == [("cancels", track)]
    (reason,) = kiosk.quality.warnings
    assert f"tracks.{track}.channels: [1]" in reason.hint
    assert kiosk.hears(9, room, speaker, gains_db=unrelated) == [("cancels", track)]
    assert kiosk.hears(1, room, speaker, gains_db=unrelated) == []


def test_two_tracks_with_next_to_nothing_on_them_are_not_compared():
    def faint(second):
        return room(second) / 100

    assert Kiosk().hears(60, faint, faint) == []


def test_a_conversation_with_echo_in_the_microphone_is_no_fault():
    model = DeviceModel(sample_rate=RATE)
    kiosk = VirtualKiosk(model, model, seed=1, world=conversation(1))
    samples = []
    for track in TRACKS:
        blocks = [h.delivery for h in kiosk.device(track).run(62.0) if hasattr(h.delivery, "pcm")]
        samples.append(np.frombuffer(b"".join(b.pcm for b in blocks), np.int16))
    sounds = [lambda n, s=s: s[n * RATE : (n + 1) * RATE].astype(float) for s in samples]
    assert Kiosk().hears(60, *sounds) == []


def test_a_new_session_begins_with_nothing_known():
    kiosk = Kiosk()
    assert kiosk.hears(60, silence, speaker)
    kiosk.second = 0
    assert kiosk.hears(1, silence, speaker) == []


def test_a_warning_is_logged_when_it_comes_and_when_it_goes(caplog):
    caplog.set_level("INFO")
    kiosk = Kiosk()
    kiosk.hears(90, silence, speaker)
    kiosk.hears(2, room, speaker)
    assert [line.split(" track=")[0] for line in caplog.messages] == [
        "signal is wrong",
        "signal is right again",
    ]


def test_every_condition_has_a_time_to_come_and_to_go():
    for tracks in PATIENCE.values():
        assert all(patience.raise_s >= 10 and patience.clear_s >= 1 for patience in tracks.values())

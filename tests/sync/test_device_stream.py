import pytest

from edgerec.audio import Block, BlockFlags, DeviceFrame, GapReason, StreamHeader
from edgerec.sync.device_clock import HOLD_S, LEAST_ERROR_S, SETTLE_S
from edgerec.sync.device_stream import (
    FORGET_S,
    MAX_EARLY_S,
    BrokenStreamError,
    DeviceStream,
    Piece,
)
from edgerec.sync.lateness import MAX_LONGER_S

RATE = 16_000
BLOCK = 1_600
HEADER = StreamHeader(RATE, 1, "user", "mic", "monotonic_raw")


class Device:
    """A punctual device of which the test decides what is lost and what comes late."""

    def __init__(self) -> None:
        self.stream = DeviceStream(HEADER, prior_ppm=None)
        self.sampled = 0  # frames since the beginning of time
        self.counted = 0
        self.overflow = 0
        self.taken: list[Piece] = []

    def block(self, *, late_s: float = 0.0, flags: int = 0, first_frame: int | None = None):
        self.sampled += BLOCK
        first = self.counted if first_frame is None else first_frame
        arrived_ns = 10**12 + round((self.sampled / RATE + late_s) * 1e9)
        flags |= self.overflow
        self.stream.push(Block(DeviceFrame(first), BLOCK, arrived_ns, 0, flags, bytes(2 * BLOCK)))
        self.counted = first + BLOCK
        self.overflow = 0

    def blocks(self, number: int, *, late_s: float = 0.0) -> None:
        for _ in range(number):
            self.block(late_s=late_s)

    def lose(self, frames: int, *, counted: bool, flagged: bool = True) -> None:
        self.sampled += frames
        self.counted += frames if counted else 0
        self.overflow = BlockFlags.OVERFLOW if flagged else 0

    def take(self) -> list[Piece]:
        taken = []
        while (piece := self.stream.decided()) is not None:
            self.stream.take()
            taken.append(piece)
        self.taken += taken
        return taken

    def losses(self) -> list[tuple[int, int, str]]:
        """Take all that is decided; return each hole as (at frame, frames, reason)."""
        self.take()
        holes, end = [], 0
        for piece in self.taken:
            if piece.missing is not None or piece.first != end:
                assert piece.missing is not None
                holes.append((end, piece.first - end, piece.missing.label))
            end = piece.first + piece.frames
        return holes


def settled() -> Device:
    device = Device()
    device.blocks(20)
    assert device.losses() == []
    return device


def test_pieces_are_held_back_until_the_streams_offset_is_known():
    device = Device()
    while not device.stream.settled:
        device.block()
        if not device.stream.settled:
            assert device.take() == []
    assert device.stream.clock.known_s >= SETTLE_S
    assert sum(piece.frames for piece in device.take()) == device.counted


def test_once_settled_a_punctual_block_is_decided_at_once():
    device = settled()
    device.block()
    assert [piece.frames for piece in device.take()] == [BLOCK]


@pytest.mark.parametrize("frames", [1, 480, 160_000])
@pytest.mark.parametrize(
    ("flags", "reason"), [(BlockFlags.OVERFLOW, "xrun"), (BlockFlags.DROPPED, "overrun")]
)
def test_a_counted_loss_is_a_hole_of_exactly_that_length(frames, flags, reason):
    device = settled()
    at = device.counted
    device.lose(frames, counted=True)
    device.block(flags=flags)
    assert device.losses() == [(at, frames, reason)]


@pytest.mark.parametrize("frames", [160, 480, 16_000])
def test_an_uncounted_loss_is_found_from_the_clock(frames):
    """Arrivals here are whole nanoseconds: the least lateness is the loss, to the frame."""
    device = settled()
    at = device.counted
    device.lose(frames, counted=False)
    device.blocks(12)
    assert device.losses() == [(at, frames, "xrun")]
    device.blocks(5)
    assert len(device.losses()) == 1  # and once found it is not found again


def test_a_lateness_that_stays_is_a_longer_way_and_no_loss():
    """PulseAudio's null sink becomes 90 ms slower when a player connects, and quicker again."""
    device = settled()
    end = device.stream.clock.instant_ns(device.counted)
    device.blocks(40, late_s=0.090)
    device.blocks(40, late_s=0.0)
    device.blocks(40, late_s=0.090)
    assert device.losses() == []
    in_the_middle = device.stream.clock.instant_ns(device.counted) - end
    assert in_the_middle == pytest.approx(120 * BLOCK / RATE * 1e9, abs=1_000)


def test_a_way_that_becomes_longer_and_longer_is_no_slow_crystal():
    """As PulseAudio's null sink does while it plays: 2000 ppm, which no crystal has."""
    device = settled()
    for nth in range(200):
        device.block(late_s=nth * BLOCK / RATE * 2_000e-6)
    assert device.losses() == []
    assert device.stream.clock.drift_ppm == pytest.approx(0, abs=1)


def test_more_than_a_sound_server_can_hold_was_lost_though_nobody_said_so():
    device = settled()
    at, frames = device.counted, round((MAX_LONGER_S + 0.05) * RATE)
    device.lose(frames, counted=False, flagged=False)
    device.blocks(12)
    assert device.losses() == [(at, frames, "xrun")]


def test_less_than_that_again_and_again_was_lost_too():
    """Each for itself a longer way; both together more than there is anywhere."""
    device = settled()
    frames = round(0.6 * MAX_LONGER_S * RATE)
    device.lose(frames, counted=False, flagged=False)
    device.blocks(12)
    assert device.losses() == []
    at = device.counted
    device.lose(frames, counted=False, flagged=False)
    device.blocks(12)
    assert device.losses() == [(at, frames, "xrun")]


def test_what_comes_while_a_loss_is_undecided_is_held_and_then_moved():
    device = settled()
    device.lose(480, counted=False)
    device.blocks(3)
    assert device.take() == []
    first_in_hand = device.stream.first_in_hand
    device.blocks(9)
    assert device.take()[0].first == first_in_hand + 480


def test_a_burst_after_a_stall_loses_nothing():
    device = settled()
    for nth in range(8):
        device.block(late_s=0.8 - nth * BLOCK / RATE)
    device.block()
    assert device.losses() == []
    assert device.taken[-1].first + BLOCK == device.counted


def test_the_first_late_block_stays_the_place_of_the_loss_when_counted_ones_follow():
    device = settled()
    at = device.counted
    device.lose(480, counted=False)
    device.blocks(2)
    device.lose(1_600, counted=True)
    device.blocks(10)
    assert device.losses() == [(at, 480, "xrun"), (at + 480 + 2 * BLOCK, 1_600, "xrun")]


def test_no_more_than_a_second_is_held_however_long_it_stays_undecided():
    device = settled()
    for nth in range(40):  # forever catching up: never decided
        device.block(late_s=0.8 - nth * 0.018)
        device.take()
        in_hand = device.stream.end - (device.stream.first_in_hand or device.stream.end)
        assert in_hand <= HOLD_S * RATE
    assert device.losses() == []


def test_everything_is_taken_at_the_end_even_if_undecided():
    device = settled()
    device.lose(480, counted=False)
    device.blocks(3)
    assert [piece.frames for piece in device.stream.take_all()] == [BLOCK] * 3
    assert device.stream.first_in_hand is None


def test_a_count_that_goes_back_breaks_the_stream():
    device = settled()
    with pytest.raises(BrokenStreamError, match="follows one that ended"):
        device.block(first_frame=device.counted - 1)


def test_a_jump_into_the_future_breaks_the_stream():
    """A loss that long would take longer than has passed: it is no count of frames."""
    device = settled()
    with pytest.raises(BrokenStreamError, match="s too early for its frame count"):
        device.block(first_frame=device.counted + round((MAX_EARLY_S + 0.01) * RATE))


def test_what_nobody_will_ask_for_is_forgotten():
    device = Device()
    for _ in range(100):
        device.block()
        device.stream.forget()
    kept = device.stream.end - device.stream.first_in_hand
    assert FORGET_S * RATE - BLOCK < kept <= FORGET_S * RATE


def test_the_late_blocks_of_a_loss_do_not_mislead_the_clock():
    device = settled()
    device.lose(480, counted=False)
    device.blocks(60)
    assert device.stream.clock.drift_ppm == pytest.approx(0, abs=0.1)
    assert device.stream.clock.error_s == pytest.approx(LEAST_ERROR_S, abs=1e-6)


def test_a_missing_reason_from_the_count_outlives_a_found_loss():
    device = settled()
    device.lose(1_600, counted=True)
    device.lose(480, counted=False)
    device.block(flags=BlockFlags.DROPPED)
    device.blocks(12)
    assert device.losses()[0][1:] == (1_600 + 480, GapReason.OVERRUN.label)

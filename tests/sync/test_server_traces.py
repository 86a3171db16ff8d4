"""The error that a track states covers the true one, on what real sound servers said.

Each trace is one condition of `scripts/campaign servers`, see `tests/sync/traces/README.md`.
"""

import math
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, replace
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import TRACKS, BlockFlags
from edgerec.sync.dated_clock import NEEDED
from edgerec.sync.device_stream import DeviceStream
from tests.campaigns.servers import CONDITIONS
from tests.rigs.server_traces import FOLDER, TRUTH_S, path_of, read

MOST_BYTES = 8192
LEAST_TRUTHS = 12  # of each track, and as many of both together
NEAR_NS = TRUTH_S * 1e9  # two frames of two tracks that are compared

CONDITION = pytest.mark.parametrize("condition", CONDITIONS)


@dataclass(frozen=True)
class Placed:
    """A frame whose truth is known, as its piece was placed."""

    at_ns: float
    off_ns: float
    """How much later than the truth."""
    stated_ns: float


@dataclass(frozen=True)
class Trouble:
    """What is taken away from a trace; spans of blocks, in thousandths of it."""

    start: int = 0
    unanswered: tuple[tuple[int, int], ...] = ()
    """Blocks without a date: the server did not answer."""
    lost: tuple[tuple[int, int], ...] = ()
    """Blocks that did not fit into the pipe."""

    def left(self, blocks):
        def within(nth, spans):
            return any(first <= 1000 * nth / len(blocks) < first + many for first, many in spans)

        flags = 0
        for nth, block in enumerate(blocks):
            if 1000 * nth / len(blocks) < self.start:
                continue
            if within(nth, self.lost):
                flags = BlockFlags.DROPPED.value
                continue
            if within(nth, self.unanswered):
                block = replace(block, adc_ns=0, adc_error_us=0)
            yield replace(block, flags=block.flags | flags)
            flags = 0


def placed(track, trouble):
    """Yield each frame whose truth is known, by the clock when its piece is decided.

    Frames that are lost uncounted are found by the dates behind them: where such dates are taken
    away, nothing is held against a clock that has had too few.
    """
    stream = DeviceStream(track.header, None)
    frames = [frame for frame, _ in track.truth]
    counted = deque()  # the pieces in hand, as the device counts
    dated = []  # frames, of which the last ones count
    for block in trouble.left(track.blocks):
        stream.push(block)
        counted.append(block.first_frame)
        if block.adc_error_us or not dated:
            dated.append(block.first_frame)
        while (piece := stream.decided()) is not None:
            first = counted.popleft()
            stop = bisect_left(frames, first + piece.frames)
            for frame, true_ns in track.truth[bisect_left(frames, first) : stop]:
                unknown = dated[-NEEDED:][0] if trouble != Trouble() else math.inf
                if any(unknown < jump <= frame for jump in track.jumps):
                    continue
                at_ns = stream.clock.instant_ns(piece.first + frame - first)
                yield Placed(at_ns, at_ns - true_ns, stream.clock.error_s * 1e9)
            stream.take()


def both_placed(condition, trouble):
    trace = read(path_of(condition))
    return trace.is_relative, [list(placed(trace.tracks[name], trouble)) for name in TRACKS]


def assert_covered(condition, trouble):
    """Return how much there was to be covered: of each track, and of both together."""
    is_relative, (user, bot) = both_placed(condition, trouble)
    for one in () if is_relative else chain(user, bot):
        assert abs(one.off_ns) <= one.stated_ns, one
    pairs = list(paired(user, bot))
    for one, other in pairs:
        assert abs(one.off_ns - other.off_ns) <= one.stated_ns + other.stated_ns, (one, other)
    return len(user), len(bot), len(pairs)


def paired(user, bot):
    for one in user if bot else ():
        near = min(bot, key=lambda other: abs(other.at_ns - one.at_ns))
        if abs(near.at_ns - one.at_ns) <= NEAR_NS:
            yield one, near


@CONDITION
def test_a_condition_has_a_small_trace_whose_stated_error_covers_the_truth(
    condition,
):
    assert path_of(condition).stat().st_size <= MOST_BYTES
    assert min(assert_covered(condition, Trouble())) >= LEAST_TRUTHS


def test_there_is_no_other_trace():
    assert sorted(FOLDER.glob("*.gz")) == sorted(path_of(condition) for condition in CONDITIONS)


thousandths = st.integers(0, 999)


@CONDITION
@settings(max_examples=20)
@given(
    trouble=st.builds(
        Trouble,
        start=st.integers(0, 500),
        unanswered=st.lists(st.tuples(thousandths, st.integers(1, 400)), max_size=4).map(tuple),
        lost=st.lists(st.tuples(thousandths, st.integers(1, 40)), max_size=2).map(tuple),
    )
)
def test_wherever_a_trace_begins_and_whatever_is_missing_the_stated_error_covers_the_truth(
    condition, trouble
):
    assert_covered(condition, trouble)

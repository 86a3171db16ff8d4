"""The time of recorded input: what its headers say, and what they leave open."""

from edgerec.audio import StreamHeader, TimelineFrame
from edgerec.engine.replay_input import ReplayClock
from edgerec.stamps import LiveStamps
from tests.rigs.fakes import START_NS, UTC_NS, S

RATE = 16_000
MINUTE = TimelineFrame(60 * RATE)


def header(utc_ns, boot="trace-boot"):
    return StreamHeader(48_000, 1, "user", "mic", "monotonic_raw", utc_ns, boot)


def test_a_replayed_frame_has_the_traces_own_time_which_nobody_confirms():
    # The first block arrived a tenth of a second after the epoch.
    clock = ReplayClock([(START_NS + S // 10, header(UTC_NS))])
    clock.begin(START_NS)
    for at_ns in (START_NS, START_NS + 3_600 * S):  # whatever the present is
        clock.at_ns = at_ns
        stamp = LiveStamps(clock, START_NS, RATE)(MINUTE)
        assert stamp.utc_ns == UTC_NS - S // 10 + 60 * S
        assert stamp.monotonic_ns == START_NS + 60 * S
        assert (stamp.utc_trusted, stamp.utc_error_ms) == (False, None)
        assert stamp.boot_id == "trace-boot"


def test_the_wall_clock_is_that_of_the_first_input_that_has_one():
    later = (START_NS + S, header(UTC_NS + S + 7))
    latest = (START_NS + 2 * S, header(UTC_NS))
    clock = ReplayClock([latest, (START_NS, header(0)), later])
    clock.begin(START_NS)
    assert LiveStamps(clock, START_NS, RATE)(TimelineFrame(0)).utc_ns == UTC_NS + 7


def test_input_that_knows_no_wall_clock_begins_when_it_is_replayed(monkeypatch):
    monkeypatch.setattr("edgerec.engine.replay_input.SystemClock", Now)
    clock = ReplayClock([(S // 10, header(0, ""))])
    clock.begin(0)
    clock.at_ns = 5 * S
    stamp_of = LiveStamps(clock, 0, RATE)
    assert stamp_of(TimelineFrame(0)).utc_ns == UTC_NS
    assert stamp_of(MINUTE).utc_ns == UTC_NS + 60 * S


class Now:
    """The machine's wall clock."""

    utc_ns = UTC_NS

    def read(self):
        return self

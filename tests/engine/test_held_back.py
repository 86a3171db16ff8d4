"""What is held back of a track while the sound server is asked whose audio it is: nothing lost."""

from dataclasses import replace

import pytest

from edgerec.capture.devices.device_verdict import SUSPECT_NS, Findings
from edgerec.capture.portaudio import DEFAULT_BLOCK_MS, SERVER_BLOCK_MS
from edgerec.capture.stream_guard import HOLD_NS, OwnAudio
from edgerec.config.schema import BLOCK_MARGIN_MS
from edgerec.engine.capture_loop import PACE_MS, TICK_MS
from edgerec.engine.sessions import TAIL_NS
from tests.rigs.capture_rig import NO_REASON, RATE, Rig, epoch_s, runs
from tests.rigs.fakes import FakeSource, S, device

PID = 7
PAIR_S = 2 * SERVER_BLOCK_MS / 1000
STEADY_S = 8.0  # by then the session has begun
PACE_S = PACE_MS / 1000


def in_pairs(handovers):
    """Have blocks come two at a time, as a sound server's do: the first when the second does."""
    handovers = iter(handovers)
    yield next(handovers)  # the header
    for first, second in zip(handovers, handovers, strict=False):
        arrived = replace(first.delivery, arrived_ns=second.at_ns)
        yield replace(first, at_ns=second.at_ns, delivery=arrived)
        yield second


class ServedSource(FakeSource):
    """A source behind a sound server, which may have swapped it whenever something changes."""

    def __init__(self, handovers):
        super().__init__(in_pairs(handovers))
        self.findings = Findings()
        self._own = OwnAudio(self.findings, PID)

    @property
    def held_since_ns(self):
        return self._own.held_since_ns

    def deliver(self, now_ns):
        return list(self._own.sift(super().deliver(now_ns), now_ns))


def recording(block_ms, **options):
    """A rig that records a microphone, and a source of such blocks."""
    rig = Rig(user=device("user"), **options)
    rig.bot = rig.loop._sources["bot"] = ServedSource(device("bot", block_ms=block_ms))
    rig.run_to(STEADY_S)
    return rig


@pytest.fixture
def rig():
    return recording(SERVER_BLOCK_MS)


def look_at(rig, seconds):
    rig.clock.raw_ns = rig.at(seconds)
    rig.loop.step(rig.clock.raw_ns)


def has_no_gap(rig):
    recorded = rig.reasons("bot")
    assert runs(recorded) == [(NO_REASON, len(recorded))]
    assert rig.timeline.reports["bot"].late_frames == 0


@pytest.mark.parametrize("is_vouched", [False, True], ids=["another server's", "this server's"])
@pytest.mark.parametrize("looks", range(1, 11))
def test_a_question_to_the_sound_server_costs_no_frame_whenever_it_is_asked(rig, looks, is_vouched):
    """Asked just before a look, and answered as late as is waited for.

    Ten looks, 0.9 s apart, meet the half second between two pairs of blocks in five phases: what
    has come since the look before is 0.9 to 1.4 s behind, more than any track is waited for.
    """
    if is_vouched:
        rig.bot.findings.vouch(PID)
    for nth in range(1, looks):
        look_at(rig, STEADY_S + nth * PACE_S)
    asked_s = STEADY_S + looks * PACE_S
    rig.bot.findings.suspect(rig.at(asked_s))
    for ticks in range(round(SUSPECT_NS / 1e6) // TICK_MS + 1):
        look_at(rig, asked_s + ticks * TICK_MS / 1000)
    look_at(rig, asked_s + SUSPECT_NS / S - 0.001)
    rig.bot.findings.pass_over()
    rig.run_to(asked_s + SUSPECT_NS / S + TICK_MS / 1000)
    has_no_gap(rig)


def test_nor_do_questions_one_after_the_other_without_a_pause(rig):
    """As when somebody else's streams come and go all the time: each look meets one.

    Behind is what is held, the time to the next pair, and a block and a bit in the resampler.
    """
    for nth in range(1, 40):
        look_s = STEADY_S + nth * TICK_MS / 1000
        rig.bot.findings.suspect(rig.at(look_s))
        look_at(rig, look_s)
        committed_s = epoch_s(rig.timeline) + rig.timeline.history.committed / RATE
        assert look_s - committed_s < HOLD_NS / S + 2 * PAIR_S
    has_no_gap(rig)


def test_a_device_that_ends_while_it_is_asked_about_is_silence_when_nothing_is_held_any_more(rig):
    rig.bot._handovers, rig.bot._next = iter(()), None
    rig.bot.findings.suspect(rig.at(STEADY_S))
    rig.run_to(STEADY_S + 5.0)
    _, (reason, _) = runs(rig.reasons("bot"))
    assert reason != NO_REASON


def test_nor_does_a_block_that_waits_because_it_is_fresh_where_a_track_is_waited_for_briefly():
    """As briefly as may be configured: less than a block waits here.

    After half a minute in which each second block came late that is known to be usual, and no block
    is waited with any more until it is decided whether something is missing before it.
    """
    late_ms = DEFAULT_BLOCK_MS + BLOCK_MARGIN_MS
    assert late_ms < HOLD_NS / 1e6
    rig = recording(DEFAULT_BLOCK_MS, late_s=late_ms / 1000)
    rig.bot.findings.vouch(PID)
    rig.run_to(STEADY_S + 30)
    for hundredths in range(100):
        look_at(rig, STEADY_S + 30 + hundredths / 100)
    has_no_gap(rig)


@pytest.mark.parametrize("tenths", range(5))
def test_a_session_that_ends_while_it_is_asked_lacks_nothing_of_its_end(rig, tenths):
    """All that was sampled before the stop has come a pair of blocks later, and may wait then."""
    assert SUSPECT_NS + PAIR_S * S < TAIL_NS
    rig.loop.stop()
    suspected_s = STEADY_S + tenths / 10
    rig.run_to(suspected_s)
    rig.bot.findings.suspect(rig.at(suspected_s))
    rig.run_until(rig.ended, STEADY_S + TAIL_NS / S)
    has_no_gap(rig)

"""How a service may be, for tests of what is told about it."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from edgerec.audio import (
    EchoReport,
    GapReason,
    SourceState,
    Stamp,
    TimelineFrame,
    TrackReport,
    TurnPart,
)
from edgerec.clock import ClockReading
from edgerec.health.echo_history import EchoKnown
from edgerec.health.monitor import Heard
from edgerec.health.snapshot import status_of
from edgerec.health.status import Chirp, EchoDay, EchoStatus, HookCounts, Reason, Spread
from edgerec.health.usage import Usage
from edgerec.health.verdict import Facts, LastPublished, RecoveryState, Writing, WritingState
from edgerec.service.control.commands import status_command
from edgerec.service.control.server import Control
from edgerec.service.control.socket import ControlSocket
from edgerec.session.timeline import Backlog, SessionTimeline
from edgerec.session.turn_board import TurnBoard
from edgerec.store.records.gap_map import Levels
from edgerec.store.records.sidecar import GapTotal
from edgerec.store.retention.cleanup import Space
from edgerec.sync.history import History
from tests.rigs.fakes import START_NS, UTC_NS, FakeClock, S

MONOTONIC_NS = 5_000 * S

FACTS = Facts(
    kiosk="k1",
    activity="recording",
    started_ns=START_NS - 10 * S,
    timeline=None,
    sources={"user": SourceState("stalled", START_NS, "no frame for 1.2 s", 3)},
    heard=Heard(),
    writing=Writing(WritingState(), Backlog(), usual_lag_s=6.0),
    space=None,
    last_published=None,
    clock=ClockReading(START_NS + 90 * S, MONOTONIC_NS, UTC_NS + 90 * S, True, 0.5),
    usage=Usage(3, 60_000_000, 90_000_000, 1.25),
)
"""It is to record the user alone, whose device has stalled."""


def writing(trouble=None, since_ns=0, unpublished=0, unpublishable=None, **backlog):
    """How audio reaches the disk; `backlog` as in `Backlog`."""
    state = WritingState(trouble, since_ns, unpublished=unpublished, unpublishable=unpublishable)
    return Writing(state, Backlog(**backlog), usual_lag_s=6.0)


def _stamp_of(frame):
    """Frame 0 was captured when `FACTS` have been recorded for 30 s; clock and zero as there."""
    return Stamp(UTC_NS, True, 0.5, MONOTONIC_NS - 60 * S + frame * S // 10, "boot")


def session(seconds, stop=None, reports=None, echo=None):
    """The timeline of a session, so long by now, in which no sample is zero."""
    history = History(100)
    for track in (0, 1):
        history.append(track, np.ones(round(seconds * 10), np.int16))
    history.commit(TimelineFrame(round(seconds * 10)))
    timeline = SessionTimeline(10, history, _stamp_of, reports or {}, stop)
    timeline.echo = echo or EchoReport()
    return timeline


WELL = replace(
    FACTS,
    timeline=session(5, reports={"user": TrackReport("pulse:mic", 31.2, 18.0, 0)}),
    sources={"user": SourceState("running", START_NS, "mic", 0)},
    heard=Heard(
        levels={"user": Levels(-3.0, -24.0, 0), "bot": Levels(None, None, 0)},
        gaps={"user": {GapReason.STALL: GapTotal(2, 25)}, "bot": {}},
    ),
    space=Space(5 * 10**9, 0, 10**8, 250.0),
    last_published=LastPublished("a.wav", "chunk", START_NS),
)
"""The same with a device that delivers, and a session."""


def _full():
    """A service in which every field of the status has something to say."""
    board = TurnBoard()
    board.post([TurnPart("bot", 7, 0, TimelineFrame(0), TimelineFrame(9), 2, 8, "vad")])
    timeline = session(
        5,
        reports={
            "user": TrackReport("pulse:mic", 31.2, 18.0, 7),
            "bot": TrackReport("feed", -0.5, 4.0),
        },
        echo=EchoReport(62.0, -9.5),
    )
    timeline.turns = board
    spread = Spread(61.8, 62.0, 62.3)
    return replace(
        WELL,
        timeline=timeline,
        sources={
            "user": SourceState("stalled", START_NS, 'no "frame"\nfor 1.2 s', 3),
            "bot": SourceState("running", START_NS + 60 * S, "an application, ü", 0),
        },
        heard=Heard(
            levels={"user": Levels(-3.0, -24.0, 2), "bot": Levels(-12.5, -31.5, 0)},
            gaps={
                "user": {GapReason.XRUN: GapTotal(2, 30), GapReason.OVERRUN: GapTotal(1, 5)},
                "bot": {GapReason.PAUSE: GapTotal(1, 3)},
            },
            warnings=(Reason("clipped", "user", "too loud", "turn it down"),),
        ),
        writing=writing(
            "No space left",
            START_NS + 60 * S,
            unpublished=2,
            unpublishable="ready: Permission denied",
            lag_s=36.0,
            waits_since_ns=MONOTONIC_NS - 58 * S,
            lost_frames=40,
            losing=True,
        ),
        space=Space(5 * 10**9, 10**8, 10**7, 12.34, short_files=3),
        echo=EchoKnown(
            EchoStatus(
                delay_ms=61.9,
                level_db=-9.6,
                usual_delay_ms=62.0,
                usual_level_db=-9.5,
                kept_days=34,
                days=(EchoDay("2026-11-22", 41, spread, Spread(-11.0, -9.5, -9.1)),),
                chirp=Chirp("2026-11-02T09:00:00Z", True, 61.5, -21.0, -12.0),
                trouble="it was started again",
            ),
            reasons=(Reason("echo_moved", "user", "it has moved", "look"),),
        ),
        hooks=HookCounts(157, 2, 3, 4, 1, "on_turn: exit status 1"),
        taps=2,
        taps_lost_blocks=9,
        more=(Reason("config", None, "it is cut short", "fix it"),),
        turns_trouble="no detector",
        recovery=RecoveryState((("a.journal", "File exists"), ("b", "EIO")), ("c",)),
        chores=(Reason("housekeeping", None, "retention failed", "report it"),),
        retention_trouble="'/x': a link",
    )


FULL = _full()
"""Both tracks, with everything wrong that can be."""


@contextmanager
def serving(path, facts):
    """A control socket that answers nothing but how the service is."""
    commands = {"status": status_command(lambda: status_of(facts))}
    with ControlSocket(path) as listening, Control(listening, commands, FakeClock()):
        yield

"""How a service may be, for tests of what is told about it."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from edgerec.audio import EchoReport, GapReason, SourceState, Stamp, TimelineFrame, TrackReport
from edgerec.clock import ClockReading
from edgerec.health.monitor import Heard
from edgerec.health.reports import WritingState
from edgerec.health.status import Facts, LastPublished, status_as_json
from edgerec.health.usage import Usage
from edgerec.health.verdict import Writing
from edgerec.service.control.commands import status_command
from edgerec.service.control.server import Control
from edgerec.service.control.socket import ControlSocket
from edgerec.session.backlog import Backlog
from edgerec.session.timeline import SessionTimeline
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


@contextmanager
def serving(path, facts):
    """A control socket that answers nothing but how the service is."""
    commands = {"status": status_command(lambda: status_as_json(facts))}
    with ControlSocket(path) as listening, Control(listening, commands, FakeClock()):
        yield

from dataclasses import dataclass

from edgerec import __version__
from edgerec.audio import TimelineFrame
from edgerec.capture.child import SourceState
from edgerec.service.status import describe
from edgerec.service.timeline import SessionTimeline
from edgerec.sync.ring import History
from tests.kiosk import START_NS, S


@dataclass
class Source:
    state: SourceState


SOURCES = {"user": Source(SourceState("stalled", START_NS, "no frame for 2 s", 3))}


def session(seconds, stop=None):
    history = History(100)
    for track in (0, 1):
        history.silence(track, round(seconds * 10), 0)
    history.commit(TimelineFrame(round(seconds * 10)))
    return SessionTimeline(10, history, lambda frame: None, {}, stop)


def test_status_tells_of_every_track_and_for_how_long():
    told = describe(None, SOURCES, START_NS + 90 * S)
    assert told["version"] == __version__
    assert told["tracks"] == {
        "user": {
            "state": "stalled",
            "for_seconds": 90.0,
            "detail": "no frame for 2 s",
            "restarts": 3,
        },
        "bot": {"state": "off"},
    }


def test_status_tells_whether_a_session_is_being_recorded():
    def recording(timeline):
        told = describe(timeline, SOURCES, START_NS)
        return told["recording"], told["session_seconds"]

    assert recording(None) == (False, None)
    assert recording(session(2.5)) == (True, 2.5)
    assert recording(session(2.5, stop=TimelineFrame(25))) == (False, None)

import json
from dataclasses import replace

import pytest

from edgerec import __version__
from edgerec.audio import EchoReport, GapReason, TimelineFrame, TrackReport, TurnPart
from edgerec.health.monitor import Heard
from edgerec.health.snapshot import status_of
from edgerec.health.status import Reason, Status, TrackStatus, to_json
from edgerec.health.verdict import LastPublished, RecoveryState
from edgerec.session.turn_board import TurnBoard
from edgerec.store.records.gap_map import Levels
from edgerec.store.records.sidecar import GapTotal
from edgerec.store.retention.cleanup import Space
from edgerec.validation.typed import from_plain
from tests import CHECKOUT
from tests.rigs.fakes import START_NS, S
from tests.rigs.made_statuses import FACTS, FULL, MONOTONIC_NS, WELL, session, writing


def test_the_document_is_what_it_always_was():
    """Every byte of it: names, order and values. Programs that others wrote read it."""
    status = replace(status_of(FULL), version="VERSION")
    told = json.dumps(to_json(status), indent=1) + "\n"
    assert told == (CHECKOUT / "tests" / "health" / "full_status.json").read_text()


@pytest.mark.parametrize("facts", [FULL, WELL, FACTS])
def test_the_document_is_read_back_as_the_same_status(facts):
    status = status_of(facts)
    assert from_plain(Status, json.loads(json.dumps(to_json(status)))) == status


def test_a_document_of_another_version_is_read_as_far_as_it_is_understood():
    assert from_plain(Status, {}) == Status()
    later = {
        **to_json(status_of(FULL)),
        "state": "splendid",
        "mood": {"of": ["the", "operator"]},
        "tracks": {"user": {"state": "dreaming", "peak_dbfs": -3, "of": "sheep"}},
    }
    read = from_plain(Status, later)
    assert (read.state, read.storage) == ("splendid", status_of(FULL).storage)
    assert read.tracks == {"user": TrackStatus(state="dreaming", peak_dbfs=-3)}


def test_status_tells_how_the_service_is_and_why():
    told = to_json(status_of(FACTS))
    assert (told["version"], told["kiosk"]) == (__version__, "k1")
    assert told["state"] == "failed"
    (reason,) = told["reasons"]
    assert (reason["code"], reason["track"]) == ("device", "user")
    assert "no frame for 1.2 s" in reason["why"]
    assert reason["hint"]
    assert told["uptime_seconds"] == 100.0
    assert told["clock"] == {"utc": "2026-11-22T10:16:30Z", "trusted": True, "error_ms": 0.5}
    assert told["memory"] == {"pss_bytes": 60_000_000, "rss_bytes": 90_000_000}
    assert (told["cpu_seconds"], told["processes"]) == (1.25, 3)


def test_what_is_wrong_around_the_recorder_is_a_reason_too():
    facts = replace(FACTS, sources={}, more=(Reason("config", None, "it is cut short", "fix it"),))
    told = to_json(status_of(facts))
    assert told["state"] == "degraded"
    assert [one["code"] for one in told["reasons"]] == ["config"]


def test_status_tells_of_every_track_since_when_and_what_it_holds():
    facts = replace(
        FACTS,
        timeline=session(
            2, reports={"user": TrackReport("mic", 31.2, 18.0, 7)}, echo=EchoReport(62.0, -9.5)
        ),
        heard=Heard(
            levels={"user": Levels(-3.0, -24.0, 2), "bot": Levels(None, None, 0)},
            gaps={
                "user": {GapReason.XRUN: GapTotal(2, 30), GapReason.OVERRUN: GapTotal(1, 5)},
                "bot": {},
            },
        ),
    )
    assert to_json(status_of(facts))["tracks"] == {
        "user": {
            "state": "stalled",
            "since": "2026-11-22T10:15:00Z",
            "for_seconds": 90.0,
            "detail": "no frame for 1.2 s",
            "device": "mic",
            "drift_ppm": 31.2,
            "residual_us": 18.0,
            "echo_delay_ms": 62.0,
            "echo_return_db": -9.5,
            "peak_dbfs": -3.0,
            "rms_dbfs": -24.0,
            "clipped": 2,
            "gaps": {"xrun": {"count": 2, "frames": 30}, "overrun": {"count": 1, "frames": 5}},
            "xruns": 3,
            "late_frames": 7,
            "refused_frames": 0,
            "fed": None,
            "restarts": 3,
            "turn": None,
        },
        "bot": {"state": "off"},
    }


def test_status_tells_whether_a_session_is_being_recorded():
    def recording(timeline):
        told = to_json(status_of(replace(FACTS, timeline=timeline)))
        return told["recording"], told["session_seconds"]

    assert recording(None) == (False, None)
    assert recording(session(2.5)) == (True, 2.5)
    assert recording(session(2.5, stop=TimelineFrame(25))) == (False, None)


def test_status_tells_how_writing_goes_and_how_long_it_can():
    facts = replace(
        FACTS,
        timeline=session(8),
        writing=writing(
            "No space left",
            START_NS + 60 * S,
            unpublished=2,
            lag_s=6.0,
            waits_since_ns=MONOTONIC_NS - 58 * S,
            lost_frames=40,
        ),
        space=Space(10**9, 5 * 10**8, 10**8, 99.96),
        last_published=LastPublished("a.wav", "chunk", START_NS + 30 * S),
    )
    told = to_json(status_of(facts))
    assert told["storage"] == {
        "free_bytes": 10**9,
        "stored_bytes": 5 * 10**8,
        "unacknowledged_bytes": 10**8,
        "hours_left": 100.0,
        "unpublished": 2,
        "unpublishable": None,
        "leftovers": {"waiting": 0, "files": [], "quarantined": []},
        "writer_lag_seconds": 6.0,
        "captured_age_seconds": 52.0,
        "durable_age_seconds": 58.0,
        "lost_frames": 40,
        "trouble": "No space left",
        "trouble_for_seconds": 30.0,
    }
    assert told["last_published"] == {"file": "a.wav", "kind": "chunk", "ago_seconds": 60.0}


def test_what_can_not_be_published_is_a_reason_and_no_failure():
    facts = replace(
        WELL,
        writing=writing(unpublishable="ready: Permission denied", unpublished=7),
        recovery=RecoveryState((("a.journal", "File exists"), ("b", "EIO")), ("c",)),
        chores=(Reason("housekeeping", None, "retention failed", "report it"),),
    )
    told = to_json(status_of(facts))
    assert told["state"] == "degraded"
    reasons = {reason["code"]: reason["why"] for reason in told["reasons"]}
    assert list(reasons) == ["publish", "recovery", "housekeeping"]
    assert reasons["publish"] == "nothing can be published: ready: Permission denied"
    assert "a.journal: File exists (and 1 more)" in reasons["recovery"]
    assert told["storage"]["unpublishable"] == "ready: Permission denied"
    assert told["storage"]["leftovers"] == {
        "waiting": 2,
        "files": [{"file": "a.journal", "why": "File exists"}, {"file": "b", "why": "EIO"}],
        "quarantined": ["c"],
    }


def test_status_tells_since_when_a_disk_does_not_answer_that_has_not_failed():
    waits = writing(lag_s=24.0, waits_since_ns=MONOTONIC_NS - 26 * S)
    told = to_json(status_of(replace(FACTS, timeline=session(8), writing=waits)))["storage"]
    assert "24 s" in told["trouble"]
    assert told["trouble_for_seconds"] == 26.0


def test_the_status_of_a_service_that_has_just_started_is_json():
    assert json.loads(json.dumps(to_json(status_of(FACTS))))["storage"]["free_bytes"] is None


def test_status_tells_whose_turn_it_is():
    board = TurnBoard()
    timeline = replace(session(5), turns=board)

    def turn():
        return to_json(status_of(replace(FACTS, timeline=timeline)))["tracks"]["user"]["turn"]

    part = TurnPart("user", 7, 0, TimelineFrame(0), TimelineFrame(9), 2, 8, "vad")
    assert turn() is None
    board.post([part])
    assert turn() == 7
    board.post([replace(part, ended="turn")])
    assert turn() is None

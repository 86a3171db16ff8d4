from dataclasses import replace

import pytest

from edgerec.audio import SourceState
from edgerec.health.monitor import Heard
from edgerec.health.status import Reason
from edgerec.health.verdict import LEAST_HOURS_LEFT, STARTS_NS, judge
from edgerec.store.retention.cleanup import Space
from tests.rigs.fakes import START_NS, S
from tests.rigs.made_statuses import FACTS, writing

NOW_NS = START_NS + 60 * S
GOOD = writing()
ROOM = Space(10**9, 0, 0, 2 * LEAST_HOURS_LEFT)


def source(name, since_ns=START_NS):
    return SourceState(name, since_ns, f"why {name}", 0)


def both(user, bot="running"):
    return {"user": source(user), "bot": source(bot)}


def health_of(sources, disk=GOOD, space=ROOM, **facts):
    clock = replace(FACTS.clock, raw_ns=NOW_NS)
    facts = replace(FACTS, sources=sources, writing=disk, space=space, clock=clock, **facts)
    return judge(facts)


def judged(sources, disk=GOOD, space=ROOM, warnings=()):
    health = health_of(sources, disk, space, heard=Heard(warnings=warnings))
    return health.state, [(reason.code, reason.track) for reason in health.reasons]


@pytest.mark.parametrize("name", ["running", "idle"])
def test_tracks_that_deliver_or_have_nothing_to_say_are_well(name):
    assert judged(both(name)) == ("ok", [])
    assert judged({}) == ("ok", [])
    assert judged(both(name), space=None) == ("ok", [])


@pytest.mark.parametrize("name", ["stalled", "absent", "starting"])
def test_a_track_that_delivers_nothing_is_a_reason_and_all_of_them_a_failure(name):
    assert judged(both(name)) == ("degraded", [("device", "user")])
    assert judged(both(name, "absent"))[0] == "failed"
    assert judged({"user": source(name)})[0] == "failed"


def test_a_device_is_given_time_to_start():
    just = {"user": source("starting", NOW_NS - STARTS_NS + 1), "bot": source("running")}
    assert judged(just) == ("ok", [])


def test_a_disk_that_fails_degrades_and_one_that_loses_audio_is_a_failure():
    trouble = writing("No space left", START_NS)
    assert judged(both("running"), trouble) == ("degraded", [("disk", None)])
    losing = writing("No space left", START_NS, lag_s=36.0, lost_frames=1, losing=True)
    assert judged(both("running"), losing)[0] == "failed"
    assert judged(both("running"), writing(lost_frames=1))[0] == "ok"


def test_a_disk_that_does_not_answer_is_told_though_no_call_has_failed():
    usual_s = GOOD.usual_lag_s
    assert judged(both("running"), writing(lag_s=usual_s)) == ("ok", [])
    assert judged(both("running"), writing(lag_s=usual_s + 1)) == ("degraded", [("disk", None)])
    losing = writing(lag_s=36.0, lost_frames=160, losing=True)
    health = health_of(both("running"), losing)
    assert health.state == "failed"
    assert "36 s" in health.reasons[0].why
    assert "160 frames" in health.reasons[0].why


def test_a_disk_that_will_be_full_tomorrow_is_told_today():
    space = Space(10**9, 0, 0, LEAST_HOURS_LEFT - 0.1)
    assert judged(both("running"), space=space) == ("degraded", [("space", None)])


def test_a_disk_that_runs_out_of_inodes_is_told():
    space = Space(10**9, 0, 0, 2 * LEAST_HOURS_LEFT, short_files=3)
    assert judged(both("running"), space=space) == ("degraded", [("space", None)])


def test_what_retention_leaves_alone_is_told():
    health = health_of(both("running"), retention_trouble="'/x': a link")
    assert health.state == "degraded"
    (reason,) = health.reasons
    assert reason.code == "retention"
    assert "'/x': a link" in reason.why


def test_a_warning_of_the_audio_degrades():
    warning = Reason("clipped", "bot", "too loud", "turn it down")
    assert judged(both("running"), warnings=(warning,)) == ("degraded", [("clipped", "bot")])


def test_a_detector_that_failed_degrades():
    health = health_of(both("running"), turns_trouble="ImportError: no silero")
    assert health.state == "degraded"
    (reason,) = health.reasons
    assert reason.code == "turns"
    assert "no silero" in reason.why


def test_every_reason_says_why_and_what_to_do():
    trouble = writing("Input/output error", START_NS)
    reasons = health_of(both("absent"), trouble, Space(0, 0, 0, 0.0)).reasons
    assert len(reasons) == 3
    assert "why absent" in reasons[0].why
    assert "Input/output error" in reasons[1].why
    assert all(reason.hint for reason in reasons)

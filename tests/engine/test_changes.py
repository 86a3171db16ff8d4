"""Two plans are compared: what a reload reopens, begins anew, or has to refuse."""

from dataclasses import replace

import pytest

from edgerec.config import Config
from edgerec.config.load import build
from edgerec.engine import changes
from edgerec.engine.plan import Plan


def config(**sections):
    built, problems = build(Config(), sections)
    assert problems == []
    return built


def changes_between(old, new):
    return changes.changes_between(Plan.of(old), Plan.of(new))


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"recording": {"chunk_seconds": 30}}, "recording.chunk_seconds"),
        ({"recording": {"format": "flac"}}, "recording.format"),
        ({"recording": {"late_seconds": 1.5}}, "recording.late_seconds"),
        ({"tracks": {"bot": {"offset_ms": 20}}}, "tracks.bot.offset_ms"),
        ({"tracks": {"bot": {"offset_source": "chirp"}}}, "tracks.bot.offset_source"),
        ({"retention": {"max_age_days": 3}}, "retention.max_age_days"),
        ({"hooks": {"on_chunk": ["true"]}}, "hooks.on_chunk"),
        ({"metrics": {"textfile": "/run/x.prom"}}, "metrics.textfile"),
        ({"storage": {"utc_wait_s": 1}}, "storage.utc_wait_s"),
    ],
)
def test_most_settings_apply_at_once_and_touch_no_source(sections, path):
    changes = changes_between(Config(), config(**sections))
    assert changes.paths == (path,)
    assert (changes.refused, changes.new_session, changes.sources) == ((), False, ())


@pytest.mark.parametrize(
    "sections",
    [
        {"kiosk_id": "lobby"},
        {"recording": {"sample_rate": 48_000}},
        {"recording": {"separate_tracks": True}},
        {"storage": {"sync_seconds": 5}},
        {"turns": {"hangover_s": 2}},
    ],
)
def test_some_settings_hold_for_all_of_a_session(sections):
    changes = changes_between(Config(), config(**sections))
    assert changes.new_session
    assert (changes.refused, changes.sources) == ((), ())


@pytest.mark.parametrize(
    ("sections", "path"),
    [
        ({"storage": {"root": "/elsewhere"}}, "storage.root"),
        ({"storage": {"require_mount": True}}, "storage.require_mount"),
        ({"storage": {"stall_seconds": 60}}, "storage.stall_seconds"),
        ({"storage": {"trust_rtc": True}}, "storage.trust_rtc"),
        ({"control": {"socket": "/elsewhere"}}, "control.socket"),
        ({"recording": {"enable_turn_audio": True}}, "recording.enable_turn_audio"),
        ({"control": {"group": "staff"}}, "control.group"),
    ],
)
def test_what_belongs_to_the_process_is_refused_with_a_hint(sections, path):
    (problem,) = changes_between(Config(), config(**sections)).refused
    assert problem.path == path
    assert "restart" in problem.hint


def test_a_device_that_changes_has_its_own_source_opened_anew():
    changes = changes_between(Config(), config(tracks={"bot": {"device": "other"}}))
    assert changes.sources == ("bot",)


def test_a_track_that_is_off_before_and_after_has_nothing_opened_anew():
    off = {"source": "none"}
    before, after = config(tracks={"bot": off}), config(tracks={"bot": off | {"device": "other"}})
    changes = changes_between(before, after)
    assert (changes.paths, changes.sources) == (("tracks.bot.device",), ())


def test_devices_whose_blocks_would_be_late_from_now_on_are_opened_anew():
    short = {"late_seconds": 0.2}  # a sound server's have blocks of 250 ms
    assert changes_between(Config(), config(recording=short)).sources == ("user", "bot")
    assert changes_between(config(recording=short), Config()).sources == ("user", "bot")
    ours = {"user": {"block_ms": 100}, "bot": {"source": "none"}}
    before, after = config(tracks=ours), config(tracks=ours, recording=short)
    assert changes_between(before, after).sources == ()
    turns = {"enable_turn_audio": True}
    before, after = config(recording=turns), config(recording=turns | short)
    assert changes_between(before, after).sources == ()  # they are short already


def test_whether_speech_is_looked_for_is_decided_when_the_service_starts():
    speech = config(recording={"user_continuous_stream": False})
    (problem,) = changes_between(Config(), speech).refused
    assert problem.path == "recording.user_continuous_stream"
    fed = config(recording={"user_continuous_stream": False}, tracks={"user": {"source": "feed"}})
    (problem,) = changes_between(speech, fed).refused
    assert problem.path == "tracks.user.source"
    always_fed = config(tracks={"user": {"source": "feed"}})
    assert changes_between(fed, always_fed).refused == ()  # a feed has pauses either way


def test_nothing_has_changed_in_the_same_configuration():
    changes = changes_between(config(kiosk_id="a"), replace(config(), kiosk_id="a"))
    assert changes.paths == changes.refused == changes.sources == ()

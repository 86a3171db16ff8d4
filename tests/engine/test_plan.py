"""Settings become parameters: what each track's source is, and what is expected of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgerec.capture.child import ChildLimits, ChildSource
from edgerec.capture.portaudio import DEFAULT_BLOCK_MS, SERVER_BLOCK_MS
from edgerec.config.schema import BLOCK_MARGIN_MS
from edgerec.engine import sources
from edgerec.engine.plan import Plan
from edgerec.engine.sources import SIMULATED_START_NS, capture_command, open_child, open_sources
from edgerec.feeds.source import FeedSource
from tests.rigs.fakes import START_NS, FakeClock, config

ROOT = Path("/nowhere")


def plan(**settings):
    return Plan.of(config(ROOT, **settings))


def test_a_feed_is_no_capture_child_and_a_device_is_no_feed():
    mixed = config(ROOT, user="simulated", bot="feed")
    opened = open_sources(Plan.of(mixed).sources, FakeClock())
    assert isinstance(opened["user"], ChildSource)
    assert isinstance(opened["bot"], FeedSource)
    opened["bot"].close()


def test_a_simulated_device_may_think_for_longer_than_a_real_one(monkeypatch):
    monkeypatch.setattr(sources, "simulate_command", lambda *_, **__: ["sleep", "600"])
    child = open_child("user", plan(user="simulated").sources["user"], START_NS)
    child.deliver(START_NS)
    assert child.deliver(START_NS + SIMULATED_START_NS) == []
    assert len(child.deliver(START_NS + SIMULATED_START_NS + 1)) == 1
    child.close()
    assert ChildLimits().start_ns < SIMULATED_START_NS


@pytest.mark.parametrize(
    ("settings", "continuous"),
    [
        ({}, ("user", "bot")),
        ({"bot": "feed"}, ("user",)),
        ({"user": "feed", "bot": "feed"}, ()),
        ({"user_continuous_stream": False}, ("user", "bot")),
        ({"user": "feed", "user_continuous_stream": False}, ("bot",)),
        ({"user": "none", "user_continuous_stream": False}, ("bot",)),
    ],
)
def test_pauses_are_gaps_only_of_what_delivers_all_the_time(settings, continuous):
    assert plan(**settings).continuous == continuous


@pytest.mark.parametrize(
    ("user", "speech_only"),
    [("portaudio", True), ("simulated", True), ("feed", False), ("none", False)],
)
def test_speech_is_looked_for_on_a_microphone_that_is_live_all_the_time(user, speech_only):
    turns = plan(user=user, user_continuous_stream=False).turns
    assert (turns.speech_only, turns.wanted) == (speech_only, speech_only)
    assert not plan(user=user).turns.wanted


@pytest.mark.parametrize(
    ("track", "latency_ms", "source"),
    [
        ({}, {}, {}),
        ({"offset_ms": 12.5}, {"bot": 12.5}, {"bot": "configured"}),
        ({"offset_ms": 80, "offset_source": "chirp"}, {"bot": 80}, {"bot": "chirp"}),
        ({"offset_source": "chirp"}, {"bot": 0}, {"bot": "chirp"}),
    ],
)
def test_an_offset_is_a_latency_that_somebody_knows_unless_nobody_has_set_it(
    track, latency_ms, source
):
    settings = config(ROOT)
    bot = replace(settings.tracks.bot, **track)
    settings = replace(settings, tracks=replace(settings.tracks, bot=bot))
    layout = Plan.of(settings).form(16_000).layout
    assert (layout.latency_ms, layout.latency_source) == (latency_ms, source)


def test_the_history_is_longer_by_how_long_a_decision_is_waited_for():
    decided, other = plan(user_continuous_stream=False), plan()
    more_s = decided.session.history_s - other.session.history_s
    assert more_s == pytest.approx(decided.turns.patience_s)


@pytest.mark.parametrize(
    "settings", [{"enable_turn_audio": True}, {"user_continuous_stream": False}]
)
def test_where_turns_are_waited_for_blocks_are_short_and_looked_at_often(settings):
    waited, other = config(ROOT, user="portaudio", **settings), config(ROOT, user="portaudio")
    assert Plan.of(waited).pace_ms < Plan.of(other).pace_ms
    assert block_ms(waited) == str(DEFAULT_BLOCK_MS)
    assert block_ms(other) is None


@pytest.mark.parametrize(("asked_ms", "patient"), [(None, True), (99, False), (100, True)])
def test_who_asks_for_shorter_blocks_wants_them_soon(asked_ms, patient):
    assert is_patient(block_ms=asked_ms) is patient


@pytest.mark.parametrize(
    ("device", "patient"),
    [
        ({"channels": 2}, True),  # at any rate of its own
        ({"channels": 8}, False),
        ({"channels": 8, "sample_rate": 48_000}, True),
        ({"channels": 32, "sample_rate": 44_100}, False),
        ({"channels": 8, "sample_rate": 48_000, "block_ms": 2_000}, False),
    ],
)
def test_what_would_fill_its_pipe_between_two_looks_is_looked_at_as_it_comes(device, patient):
    assert is_patient(**device) is patient


def test_blocks_are_short_where_a_track_is_not_waited_for_long():
    late_s = (SERVER_BLOCK_MS + BLOCK_MARGIN_MS) / 1000
    assert block_ms(config(ROOT, user="portaudio", late_seconds=late_s)) is None
    shorter = config(ROOT, user="portaudio", late_seconds=late_s - 0.001)
    assert block_ms(shorter) == str(DEFAULT_BLOCK_MS)


def block_ms(settings):
    """What the user's capture child is told; None: nothing."""
    command = capture_command("user", Plan.of(settings).sources["user"], 0)
    told = [word for word in command if "block-ms" in word]
    return told[0].split("=")[1] if told else None


@pytest.mark.parametrize(
    ("user_ms", "bot_ms", "late_s"),
    [(0, 0, 0.8), (62.5, 0, 0.8625), (-500, 2_000, 2.8), (-500, -20, 0.8), (2_000, None, 2.8)],
)
def test_a_quiet_track_is_waited_for_longer_where_one_is_late_all_the_time(user_ms, bot_ms, late_s):
    settings = config(ROOT, late_seconds=0.8, **({"bot": "none"} if bot_ms is None else {}))
    tracks = settings.tracks
    user, bot = replace(tracks.user, offset_ms=user_ms), replace(tracks.bot, offset_ms=bot_ms or 0)
    assert Plan.of(replace(settings, tracks=replace(tracks, user=user, bot=bot))).late_s == late_s


def is_patient(**device):
    settings = config(ROOT, user="portaudio")
    user = replace(settings.tracks.user, **device)
    settings = replace(settings, tracks=replace(settings.tracks, user=user))
    return Plan.of(settings).sources["user"].patient

"""Settings become parameters: what each track's source is, and what is expected of it."""

from pathlib import Path

import pytest

from edgerec.capture.child import ChildLimits
from edgerec.service import parts
from tests.kiosk import START_NS, FakeClock, config

ROOT = Path("/nowhere")


def test_a_feed_is_no_capture_child_and_a_device_is_no_feed():
    mixed = config(ROOT, user="simulated", bot="feed")
    assert list(parts.build_children(mixed, START_NS)) == ["user"]
    feeds = parts.build_feeds(mixed, FakeClock())
    assert list(feeds) == ["bot"]
    for feed in feeds.values():
        feed.close()


@pytest.mark.parametrize(
    ("settings", "continuous"),
    [
        ({}, ("user", "bot")),
        ({"bot": "feed"}, ("user",)),
        ({"user": "feed", "bot": "feed"}, ()),
        ({"user_continuous_stream": False}, ("bot",)),
        ({"user": "none", "user_continuous_stream": False}, ("bot",)),
    ],
)
def test_pauses_are_gaps_only_of_what_delivers_all_the_time(settings, continuous):
    synchronizer = parts.build_synchronizer(config(ROOT, **settings), {})
    assert synchronizer.continuous == continuous


def test_a_device_that_delivers_speech_only_is_not_taken_for_a_stalled_one():
    children = parts.build_children(config(ROOT, user_continuous_stream=False), START_NS)
    assert children["user"]._limits.stall_ns == parts.PAUSE_NS
    assert children["bot"]._limits == ChildLimits()

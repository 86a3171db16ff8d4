"""Streams that a server does not know: when that is logged, and that it is once."""

from dataclasses import replace

import pytest

from edgerec.capture.devices.device_verdict import MISSING_NS, OpenDevice, Unwatched
from tests.rigs.fakes import START_NS, FakeClock

OPENED = OpenDevice(7, "default", START_NS, "")


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def unwatched(clock):
    return Unwatched(clock)


def test_a_stream_that_is_missing_is_logged_once_until_it_was_found(unwatched, clock, caplog):
    for told in (1, 2):
        for _ in range(3):
            unwatched.missing("user", OPENED, "no answer")
            clock.raw_ns += MISSING_NS
        assert len(caplog.messages) == told
        unwatched.found("user")
    assert caplog.messages[0].endswith("track=user device='default' why='no answer'")


@pytest.mark.parametrize(
    "later",
    [None, replace(OPENED, pid=8), replace(OPENED, source=None)],
    ids=["closed", "another child", "not a server's"],
)
def test_only_one_child_s_stream_is_missing_for_long(later, unwatched, clock, caplog):
    unwatched.missing("user", OPENED, "no answer")
    clock.raw_ns += MISSING_NS
    unwatched.missing("user", later, "no answer")
    assert caplog.messages == []
    clock.raw_ns += MISSING_NS
    unwatched.missing("user", OPENED, "no answer")
    assert caplog.messages == []


def test_the_server_is_asked_again_when_that_is_due_for_a_track_that_there_is(unwatched, clock):
    tracks = ("user", "bot")
    assert unwatched.due_ms(tracks) is None
    unwatched.missing("user", OPENED, "no answer")
    assert unwatched.due_ms(tracks) == MISSING_NS // 10**6
    assert unwatched.due_ms(("bot",)) is None
    clock.raw_ns += MISSING_NS + 1
    assert unwatched.due_ms(tracks) == 0
    unwatched.missing("user", OPENED, "no answer")
    assert unwatched.due_ms(tracks) is None

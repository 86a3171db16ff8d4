"""New cards are noticed; what is read out of a server's events, and when it is asked for them."""

import select

import pytest

from edgerec.capture.devices import device_events
from edgerec.capture.devices.device_events import (
    FIRST_RETRY_S,
    LAST_RETRY_S,
    CardWatch,
    ServerEvents,
    Tidings,
    tidings,
)
from tests.rigs.fakes import FakeClock
from tests.rigs.waiting import PATIENCE_S


def test_a_device_file_that_comes_is_told_once(tmp_path):
    with CardWatch(tmp_path) as cards:
        assert not cards.take()
        (tmp_path / "pcmC1D0c").touch()
        assert select.select([cards.fileno()], [], [], PATIENCE_S)[0]
        assert cards.take()
        assert not cards.take()


def test_a_device_file_that_is_given_to_another_group_is_told(tmp_path):
    file = tmp_path / "pcmC1D0c"
    file.touch()
    with CardWatch(tmp_path) as cards:
        file.chmod(0o600)
        assert select.select([cards.fileno()], [], [], PATIENCE_S)[0]
        assert cards.take()


def test_where_there_is_no_alsa_there_is_nothing_to_watch(tmp_path):
    with CardWatch(tmp_path / "absent") as cards:
        assert cards.fileno() is None
        assert not cards.take()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("Event 'change' on source-output #2", Tidings(changed=True)),
        ("Event 'new' on source-output #2", Tidings(changed=True)),
        ("Event 'remove' on source #2", Tidings(changed=True)),
        ("Event 'new' on source #2", Tidings(changed=True, appeared=True)),
        ("Event 'change' on server #4294967295", Tidings(changed=True)),
        ("Event 'change' on source #2", Tidings()),
        ("Event 'new' on sink-input #9", Tidings()),
        ("Event 'new' on client #9", Tidings()),
        ("", Tidings()),
    ],
)
def test_only_what_concerns_recording_is_looked_into(line, told):
    assert tidings(line.encode() + b"\n") == told
    assert tidings(b"Event 'new' on client #1\n" + line.encode() + b"\n") == told


@pytest.fixture
def ended(monkeypatch):
    """A `pactl subscribe` that finds no server."""
    monkeypatch.setattr(device_events, "SUBSCRIBE", ("true",))
    clock = FakeClock()
    events = ServerEvents(clock)
    yield events, clock
    events.close()


def retry_s(events):
    """Try, fail, and return in how long it is tried again."""
    assert events.follow()
    assert events.take() is None
    events.close()
    return events.due_ms() / 1000


def test_a_server_that_is_not_there_is_tried_less_and_less_often(ended):
    events, clock = ended
    assert events.due_ms() == 0
    waits_s = []
    while not waits_s or waits_s[-1] < LAST_RETRY_S:
        waits_s.append(retry_s(events))
        assert not events.follow()
        clock.raw_ns += round(waits_s[-1] * 1e9)
    assert waits_s[:3] == [FIRST_RETRY_S, 2 * FIRST_RETRY_S, 4 * FIRST_RETRY_S]
    assert retry_s(events) == LAST_RETRY_S


def test_a_server_that_seems_to_be_there_is_tried_at_once(ended):
    events, _ = ended
    assert retry_s(events) > 0
    events.hasten()
    assert events.due_ms() == 0


def test_a_server_that_has_said_something_is_tried_soon_when_it_is_gone(ended, monkeypatch):
    events, clock = ended
    for _ in range(5):
        clock.raw_ns += round(retry_s(events) * 1e9)
    monkeypatch.setattr(device_events, "SUBSCRIBE", ("echo", "Event 'new' on source #1"))
    assert events.follow()
    assert events.take() == Tidings(changed=True, appeared=True)
    events.close()
    assert events.due_ms() == FIRST_RETRY_S * 1000

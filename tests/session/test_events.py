import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from edgerec.audio import TimelineFrame
from edgerec.session.events import (
    NAMES,
    Event,
    EventBus,
    FilePublished,
    GapFound,
    Level,
    RecordingStarted,
    RecordingStopped,
    StateChanged,
    as_json,
    name_of,
)
from tests.rigs.waiting import PATIENCE_S


def lost(number):
    return GapFound("5e550000", None, number, 1, "disk")


LEVEL = Level("user", 0, 4_000, -3.0, -12.0)


def taken(reader):
    events = []
    while event := reader.take():
        events.append(event)
    return events


def test_every_reader_hears_everything_in_order_from_when_it_subscribed():
    bus = EventBus()
    first = bus.subscribe()
    bus.publish(lost(1))
    second = bus.subscribe()
    bus.publish(lost(2))
    assert taken(first) == [lost(1), lost(2)]
    assert taken(second) == [lost(2)]


def test_a_reader_hears_the_kinds_that_it_wants_and_levels_only_then():
    bus = EventBus()
    plain, chosen = bus.subscribe(), bus.subscribe([Level])
    bus.publish(LEVEL)
    bus.publish(StateChanged("recorder", "idle"))
    assert taken(plain) == [StateChanged("recorder", "idle")]
    assert taken(chosen) == [LEVEL]
    assert bus.wanted(Level)
    bus.unsubscribe(chosen)
    assert not bus.wanted(Level)
    bus.publish(LEVEL)
    assert taken(chosen) == []


def test_a_reader_that_does_not_keep_up_loses_the_newest_and_can_tell_how_many():
    bus = EventBus()
    slow, quick = bus.subscribe(limit=3), bus.subscribe()
    for number in range(5):
        bus.publish(lost(number))
    assert slow.dropped == 2
    assert taken(slow) == [lost(0), lost(1), lost(2)]
    assert len(taken(quick)) == 5
    bus.publish(lost(5))
    assert taken(slow) == [lost(5)]


def test_a_reader_is_woken_by_each_event_that_is_for_it():
    bus = EventBus()
    woken = threading.Event()
    reader = bus.subscribe([GapFound], limit=1, notify=woken.set)
    bus.publish(LEVEL)
    assert not woken.is_set()
    bus.publish(lost(1))
    assert woken.is_set()
    woken.clear()
    bus.publish(lost(2))
    assert not woken.is_set()
    assert reader.dropped == 1


@pytest.mark.parametrize("threads", [4])
def test_events_of_many_threads_are_all_there_or_counted(threads):
    bus = EventBus()
    reader = bus.subscribe(limit=500)

    def publish():
        for number in range(200):
            bus.publish(lost(number))

    running = [threading.Thread(target=publish, daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(PATIENCE_S)
    assert len(taken(reader)) + reader.dropped == threads * 200


FILE = FilePublished(
    session="5e550000",
    path=Path("/r/a_chunk.wav"),
    sidecar=Path("/r/a_chunk.json"),
    kind="chunk",
    what="chunk",
    sequence=3,
    start_frame=TimelineFrame(48_000),
    frames=16_000,
    end_reason="full",
)


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            RecordingStarted("5e550000", 1, "k1", 16_000, 5),
            '{"event": "started", "session": "5e550000", "number": 1, "kiosk": "k1",'
            ' "sample_rate": 16000, "monotonic_ns": 5}',
        ),
        (
            RecordingStopped("5e550000", 1, 10, "stop"),
            '{"event": "stopped", "session": "5e550000", "number": 1, "frames": 10,'
            ' "end_reason": "stop"}',
        ),
        (
            FILE,
            '{"event": "chunk", "session": "5e550000", "file": "/r/a_chunk.wav",'
            ' "sidecar": "/r/a_chunk.json", "what": "chunk", "sequence": 3, "start": 48000,'
            ' "frames": 16000, "end_reason": "full"}',
        ),
        (
            GapFound("5e550000", "bot", 100, 20, "xrun"),
            '{"event": "gap", "session": "5e550000", "track": "bot", "start": 100, "frames": 20,'
            ' "reason": "xrun"}',
        ),
        (
            replace(FILE, kind="turn", what="turn-bot", turn=7, exchange=3),
            '{"event": "turn", "session": "5e550000", "file": "/r/a_chunk.wav",'
            ' "sidecar": "/r/a_chunk.json", "what": "turn-bot", "sequence": 3, "start": 48000,'
            ' "frames": 16000, "end_reason": "full", "turn": 7, "exchange": 3}',
        ),
        (lost(1), '{"event": "lost", "session": "5e550000", "start": 1, "frames": 1}'),
        (
            StateChanged("disk", "failing", "no room"),
            '{"event": "state", "of": "disk", "state": "failing", "detail": "no room"}',
        ),
        (
            Level("user", 0, 4_000, -3.0, None),
            '{"event": "level", "track": "user", "start": 0, "frames": 4000, "peak_dbfs": -3.0,'
            ' "rms_dbfs": null}',
        ),
    ],
)
def test_the_json_of_each_event_is_as_the_contract_has_it(event, line):
    assert json.dumps(as_json(event)) == line
    assert NAMES[name_of(event)] is type(event)


def test_the_name_of_a_file_s_event_is_its_kind_which_is_left_out():
    for kind in ("chunk", "track", "turn", "session"):
        assert NAMES[kind] is FilePublished
        told = as_json(replace(FILE, kind=kind))
        assert told["event"] == kind
        assert "kind" not in told


def test_every_event_has_a_name():
    assert set(NAMES.values()) == set(get_args(Event))

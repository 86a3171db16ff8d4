import threading

import pytest

from edgerec.session.events import EventBus, FramesLost, Level, StateChanged
from tests.rigs.waiting import PATIENCE_S


def lost(number):
    return FramesLost("5e550000", number, 1)


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
    reader = bus.subscribe([FramesLost], limit=1, notify=woken.set)
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

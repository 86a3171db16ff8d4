import threading

import pytest

from edgerec.session.events import Announcer, FramesLost, Level, StateChanged
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
    announcer = Announcer()
    first = announcer.subscribe()
    announcer.announce(lost(1))
    second = announcer.subscribe()
    announcer.announce(lost(2))
    assert taken(first) == [lost(1), lost(2)]
    assert taken(second) == [lost(2)]


def test_a_reader_hears_the_kinds_that_it_wants_and_levels_only_then():
    announcer = Announcer()
    plain, chosen = announcer.subscribe(), announcer.subscribe([Level])
    announcer.announce(LEVEL)
    announcer.announce(StateChanged("recorder", "idle"))
    assert taken(plain) == [StateChanged("recorder", "idle")]
    assert taken(chosen) == [LEVEL]
    assert announcer.wanted(Level)
    announcer.unsubscribe(chosen)
    assert not announcer.wanted(Level)
    announcer.announce(LEVEL)
    assert taken(chosen) == []


def test_a_reader_that_does_not_keep_up_loses_the_newest_and_can_tell_how_many():
    announcer = Announcer()
    slow, quick = announcer.subscribe(limit=3), announcer.subscribe()
    for number in range(5):
        announcer.announce(lost(number))
    assert slow.dropped == 2
    assert taken(slow) == [lost(0), lost(1), lost(2)]
    assert len(taken(quick)) == 5
    announcer.announce(lost(5))
    assert taken(slow) == [lost(5)]


def test_a_reader_is_woken_by_each_event_that_is_for_it():
    announcer = Announcer()
    woken = threading.Event()
    reader = announcer.subscribe([FramesLost], limit=1, notify=woken.set)
    announcer.announce(LEVEL)
    assert not woken.is_set()
    announcer.announce(lost(1))
    assert woken.is_set()
    woken.clear()
    announcer.announce(lost(2))
    assert not woken.is_set()
    assert reader.dropped == 1


@pytest.mark.parametrize("threads", [4])
def test_events_of_many_threads_are_all_there_or_counted(threads):
    announcer = Announcer()
    reader = announcer.subscribe(limit=500)

    def announce():
        for number in range(200):
            announcer.announce(lost(number))

    running = [threading.Thread(target=announce, daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(PATIENCE_S)
    assert len(taken(reader)) + reader.dropped == threads * 200

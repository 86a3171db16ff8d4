"""Handlers that are quick, slow, broken or never return; none of them by the clock on the wall."""

import asyncio
import threading
import time

import pytest

from edgerec.api.dispatcher import Call, Dispatcher, Handler
from edgerec.session.events import EventBus, GapFound
from tests.rigs.waiting import PATIENCE_S, wait_for

LONG_S = 60.0  # a limit that no test reaches
SHORT_S = 0.5  # one that a handler which never returns has to reach


class Program:
    """A dispatcher, its handlers, and events as numbers."""

    def __init__(self, limit_s=LONG_S):
        self.handlers = []
        self._bus = EventBus()
        self.dispatcher = Dispatcher(self._bus, self._calls, limit_s)

    def on(self, function):
        self.handlers.append(Handler(function.__name__, function))

    def emit(self, *events):
        for event in events:
            self._bus.publish(GapFound("5e550000", None, event, 1, "disk"))

    def _calls(self, event):
        return [Call(handler, event.start_frame) for handler in self.handlers]

    def finish(self):
        """End it; not for ever."""
        thread = threading.Thread(target=self.dispatcher.finish, daemon=True)
        thread.start()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        return self.dispatcher.counts.handlers


def test_every_event_is_handled_once_in_order_by_each_handler_in_turn():
    program, told = Program(), []
    program.on(lambda event: told.append(("first", event)))
    program.on(lambda event: told.append(("second", event)))
    program.emit(*range(500))
    counts = program.finish()
    assert told == [(name, n) for n in range(500) for name in ("first", "second")]
    assert (counts.done, counts.raised, counts.overdue, counts.missed) == (1000, 0, 0, 0)


def test_handlers_run_off_the_thread_that_has_the_event_and_one_at_a_time():
    program, inside, most = Program(), threading.Lock(), []

    def handle(event):
        most.append(inside.acquire(blocking=False))
        time.sleep(0.001)  # for another to come in
        inside.release()

    program.on(handle)
    for thread in [threading.Thread(target=program.emit, args=(n,)) for n in range(50)]:
        thread.start()
    wait_for(lambda: len(most) == 50)
    program.finish()
    assert all(most)


def test_an_async_handler_is_awaited_before_the_next_event():
    program, told = Program(), []

    async def handle(event):
        told.append(("begin", event))
        await asyncio.sleep(0)
        told.append(("end", event))

    program.on(handle)
    program.emit(1, 2)
    assert program.finish().done == 2
    assert told == [("begin", 1), ("end", 1), ("begin", 2), ("end", 2)]


@pytest.mark.parametrize("error", [ValueError("a bug"), SystemExit(3), TimeoutError("theirs")])
def test_a_handler_that_raises_is_logged_and_counted_and_called_again(error, caplog):
    program, told = Program(), []

    def handle(event):
        told.append(event)
        raise error

    program.on(handle)
    program.emit(1, 2, 3)
    counts = program.finish()
    assert told == [1, 2, 3]
    assert (counts.done, counts.raised) == (0, 3)
    assert caplog.text.count("handler raised handler=handle") == 3


def test_an_async_handler_s_own_time_out_is_an_exception_like_others():
    program = Program()

    async def handle(event):
        raise TimeoutError

    program.on(handle)
    program.emit(1)
    assert program.finish().raised == 1


def test_a_handler_that_never_returns_is_left_behind_and_the_others_go_on(caplog):
    before = set(threading.enumerate())
    program, told, released = Program(SHORT_S), [], threading.Event()

    def hang(event):
        program.dispatcher._limit_s = LONG_S  # from now on: nobody else is slow
        released.wait(PATIENCE_S)

    program.on(hang)
    program.on(lambda event: told.append(event))
    program.emit(*range(20))
    wait_for(lambda: len(told) == 20)
    assert len(set(threading.enumerate()) - before) < 10  # one thread for it, once
    counts = program.finish()
    released.set()
    assert told == list(range(20))
    assert (counts.done, counts.overdue, counts.missed) == (20, 1, 19)
    assert "handler takes too long handler=hang limit_s=0.5" in caplog.text


def test_a_handler_that_comes_back_late_is_called_again():
    program, told, released = Program(SHORT_S), [], threading.Event()

    def handle(event):
        told.append(event)
        program.dispatcher._limit_s = LONG_S
        released.wait(PATIENCE_S)

    program.on(handle)
    program.emit(1, 2)
    wait_for(lambda: program.dispatcher.counts.handlers.missed == 1)
    released.set()
    wait_for(lambda: not program.handlers[0].busy)
    program.emit(3)
    program.finish()
    assert told == [1, 3]


def test_an_async_handler_that_takes_too_long_is_cancelled():
    program, told = Program(SHORT_S), []

    async def handle(event):
        try:
            await asyncio.sleep(3600)
        finally:
            told.append(event)

    program.on(handle)
    program.emit(1)
    assert program.finish().overdue == 1
    wait_for(lambda: told == [1])


def test_what_is_waiting_at_the_end_is_handled():
    program, told = Program(), []
    begun, go_on = threading.Event(), threading.Event()

    def handle(event):
        begun.set()
        go_on.wait(PATIENCE_S)
        told.append(event)

    program.on(handle)
    program.emit(*range(10))
    assert begun.wait(PATIENCE_S)
    threading.Timer(0.05, go_on.set).start()
    assert program.finish().done == 10
    assert told == list(range(10))


def test_the_end_waits_no_longer_than_one_handler_may_take():
    program, released = Program(SHORT_S), threading.Event()
    for _ in range(5):
        program.on(lambda event: released.wait(PATIENCE_S))
    program.emit(1)
    wait_for(lambda: program.dispatcher.counts.handlers.overdue > 0)
    counts = program.finish()
    released.set()
    assert counts.done == 0
    assert counts.overdue + counts.missed == 5


def test_ending_it_from_a_handler_waits_for_nothing_and_the_rest_is_handled():
    program, told = Program(), []
    finished = threading.Event()

    async def handle(event):
        told.append(event)
        if event == 1:
            await asyncio.to_thread(program.dispatcher.finish)  # from a thread of the handler's too
            program.dispatcher.finish()
            finished.set()

    program.on(handle)
    program.emit(1, 2, 3)
    assert finished.wait(PATIENCE_S)
    program.dispatcher._thread.join(PATIENCE_S)
    assert told == [1, 2, 3]


def test_draining_waits_for_what_there_is_and_the_next_events_are_handled_too():
    program, told = Program(), []
    program.on(lambda event: told.append(event))
    program.emit(*range(100))
    assert program.dispatcher.drain()
    assert told == list(range(100))
    program.emit(100)
    program.finish()
    assert told == list(range(101))


def test_draining_gives_up_when_a_handler_s_time_is_up():
    program, released = Program(SHORT_S), threading.Event()
    for _ in range(3):
        program.on(lambda event: released.wait(PATIENCE_S))
    program.emit(1)
    assert not program.dispatcher.drain()
    released.set()
    program.finish()

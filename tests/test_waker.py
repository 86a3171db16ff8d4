"""The wake-up of waiting threads: from any thread, from signal handlers, and after its end."""

import os
import select
import signal
import threading

from edgerec.waker import Waker
from tests.rigs.waiting import PATIENCE_S


def is_set(waker):
    return bool(select.select([waker], [], [], 0)[0])


def test_it_is_readable_from_set_to_clear_however_often_it_is_set():
    waker = Waker()
    assert not is_set(waker)
    for _ in range(3):
        waker.set()
    assert is_set(waker)
    waker.clear()
    assert not is_set(waker)
    waker.clear()  # which waits for nothing
    waker.close()


def test_a_thread_that_waits_is_woken_by_another():
    waker, woken = Waker(), threading.Event()

    def wait():
        select.select([waker], [], [])
        woken.set()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    waker.set()
    assert woken.wait(PATIENCE_S)
    thread.join(PATIENCE_S)
    waker.close()


def test_after_its_end_it_does_nothing_to_the_next_owner_of_its_descriptor():
    waker = Waker()
    before = waker.fileno()
    waker.close()
    reader, writer = os.pipe()
    if before not in (reader, writer):
        os.dup2(writer, before)
    waker.set()
    waker.clear()
    waker.close()
    assert waker.fileno() == -1
    assert not select.select([reader], [], [], 0)[0]
    for fd in {reader, writer, before}:
        os.close(fd)


def test_a_signal_handler_may_set_it_while_its_thread_does(monkeypatch):
    waker, write = Waker(), os.eventfd_write
    asked = []

    def interrupted(fd, count):
        if not asked:
            asked.append(True)
            signal.raise_signal(signal.SIGUSR1)
        write(fd, count)

    monkeypatch.setattr(os, "eventfd_write", interrupted)
    before = signal.signal(signal.SIGUSR1, lambda number, frame: waker.set())
    try:
        waker.set()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert is_set(waker)
    waker.close()


def test_a_set_that_comes_late_fails_at_no_moment_of_the_end():
    for _ in range(200):
        waker = Waker()
        setting = threading.Thread(target=lambda waker=waker: [waker.set() for _ in range(20)])
        setting.start()
        waker.close()
        setting.join(PATIENCE_S)
        assert not setting.is_alive()

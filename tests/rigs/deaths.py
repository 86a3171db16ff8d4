"""Threads and processes of a rig that died: the test fails at once, under the name of what died.

What waits for a condition (`wait_for`) looks here first, so that a rig that can no longer bring it
about isn't waited for. The fixture `_rigs_live` in tests/conftest.py begins each test with an empty
list, and looks once more at the end.
"""

import threading
import traceback
from collections.abc import Callable
from subprocess import Popen

_watched: dict[object, Callable[[], str | None]] = {}
_threads: list[str] = []


class RigDiedError(AssertionError):
    """A thread or process that a test depends on has ended by itself."""


def watch(key: object, why_dead: Callable[[], str | None]) -> None:
    """Look at something from now on; `why_dead` returns None while it lives.

    `key` is what `forget` takes; watching the same key again replaces what was watched.
    """
    _watched[key] = why_dead


def watch_process(name: str, process: "Popen[bytes] | Popen[str]", *, may_end: bool = True) -> None:
    """Look at a process that must not fail, and may end well by itself unless it may not."""

    def why_dead() -> str | None:
        status = process.poll()
        ended = bool(status) or (status == 0 and not may_end)
        return f"{name} ended with status {status}" if ended else None

    watch(process, why_dead)


def forget(key: object) -> None:
    """Look at something no more: the test is about to end it."""
    _watched.pop(key, None)


def forget_all() -> None:
    """Begin with nothing watched, and nothing dead."""
    _watched.clear()
    _threads.clear()


def check() -> None:
    """Raise if anything that is watched, or any thread of this process, has died."""
    dead = [
        *_threads,
        *(why for why in (why_dead() for why_dead in list(_watched.values())) if why),
    ]
    if dead:
        forget_all()  # or every later look in this test would say it again
        raise RigDiedError("; ".join(dead))


def note_thread(args: threading.ExceptHookArgs) -> None:
    """Take note of a thread that died by an exception: this is `threading.excepthook`'s form."""
    if args.exc_type is SystemExit:
        return
    name = args.thread.name if args.thread else "a thread"
    told = traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
    _threads.append(f"{name} died:\n{''.join(told)}")

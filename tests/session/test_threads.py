"""What follows when a thread of the service fails."""

import pytest

from edgerec.session.threads import Threads


def fail():
    raise RuntimeError("a bug")


@pytest.mark.parametrize("fails_first", [True, False])
def test_a_thread_that_fails_ends_what_depends_on_it_whenever_it_fails(fails_first):
    """Hooks and live readers run before the engine that they end."""
    threads, stopped = Threads(), []
    thread = threads.make(target=fail, name="hooks")
    if fails_first:
        thread.start()
        thread.join()
    threads.end_with(lambda: stopped.append(True))
    if not fails_first:
        thread.start()
        thread.join()
    assert stopped == [True]
    assert str(threads.failure) == "a bug"

"""The parent process of a hook's program: everything that the program has started ends with it.

A separate script, run with nothing but the standard library, once per running hook. As a
subreaper (prctl(2), PR_SET_CHILD_SUBREAPER) it becomes the parent of whatever is orphaned below it,
in whichever session, which takes no privilege. Its standard input is a leash: when that ends,
because the service closes it or is gone, the program is killed.

    python -I -S hook_keeper.py PROGRAM [ARGUMENT...]

Exits with the program's status, 128 + signal if one has ended it, or `UNENDED`.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

NOT_STARTED: Final = 127  # as shells have it; why is on the standard error
UNENDED: Final = 199
"""Exit status when something the program has started can't be killed: it is another user's."""
END_S: Final = 2.0  # for everything to die of SIGKILL; what hangs in a driver may never die
LOOK_S: Final = 0.01  # between two rounds of killing: those orphaned by one are the next one's
NICE: Final = 10  # of 19: an encoder run by a hook must not compete with the recorder
KEEPER_OOM_SCORE: Final = 750
HOOK_OOM_SCORE: Final = 1000
"""OOM score of a hook: where memory is short, the kernel kills a hook, never the recorder."""

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER: Final = 36
_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_STDIN, _STDOUT, _STDERR = range(3)


def main(command: list[str]) -> int:
    """Run a program; return the exit status to end with once nothing of it is left."""
    if _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        print(f"hooks need a subreaper: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        return NOT_STARTED
    # Blocked signals are inherited from the thread that started this: no program expects that.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with suppress(OSError):  # edgerec.service's filter forbids it (setpriority is of @resources)
        os.nice(NICE)
    prefer_to_kill(KEEPER_OOM_SCORE)
    awake, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    program = os.fork()
    if program == 0:
        _become(command)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (_STDOUT, _STDERR):
        os.dup2(nothing, fd)  # the program's alone: it may close them and run on
    status = _wait_for(program, awake)
    return status if _end_all() else UNENDED


def prefer_to_kill(score: int) -> None:
    """Have the kernel end this process, and what it starts, before others when memory is short."""
    path = "/proc/self/oom_score_adj"
    # Without /proc the hook is run nevertheless.
    with suppress(OSError), open(path, "r+") as file:  # noqa: PTH123 -- no pathlib here
        if int(file.read()) < score:
            file.write(str(score))


def _become(command: list[str]) -> None:
    """Turn this process, just forked, into the program."""
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # should the keeper be killed
        os.setsid()
        prefer_to_kill(HOOK_OOM_SCORE)
        os.dup2(os.open(os.devnull, os.O_RDONLY), _STDIN)
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)  # which Python ignores, or this script handles
        os.execvp(command[0], command)
    except OSError as error:
        os.write(_STDERR, f"{error.strerror}: {command[0]!r}\n".encode())
    finally:
        os._exit(NOT_STARTED)


def _wait_for(program: int, awake: int) -> int:
    """Wait until the program or its leash ends, reaping what is orphaned; return its status."""
    ready = select.poll()
    ready.register(_STDIN, select.POLLIN)
    ready.register(awake, select.POLLIN)
    while True:
        for pid, status in _reaped():
            if pid == program:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        for fd, _ in ready.poll():
            if fd == _STDIN:
                return 128 + signal.SIGKILL
            with suppress(BlockingIOError):
                os.read(fd, 4096)


def _reaped() -> Iterator[tuple[int, int]]:
    """Yield the children that have ended."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            yield ended


def _end_all() -> bool:
    """Kill every child, and those that become children by it; return whether none is left."""
    until_s = time.monotonic() + END_S
    while True:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        if time.monotonic() > until_s:
            return False
        for pid in _children():
            with suppress(PermissionError, ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK_S)


def _children() -> Iterator[int]:
    me = str(os.getpid())
    for name in os.listdir("/proc"):  # noqa: PTH208
        if not name.isdigit():
            continue
        with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
            if file.read().rpartition(b")")[2].split()[1] == me.encode():
                yield int(name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Ties a capture child to the recorder that started it: it ends with the recorder, or before it.

Imports neither numpy nor anything of ours: every capture child calls it first.
"""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from edgerec import kernel

OOM_SCORE: Final = 500
"""OOM score of a capture child: where memory is short a hook is killed first (1000), then a capture
child, which is restarted at once, and the recorder last."""

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends.

    The thread, not the process: capture children must not be started from a thread that ends before
    they do (prctl(2), PR_SET_PDEATHSIG). A parent that ended before this call shows in the child's
    pipe, which then has no reader.

    Raises
    ------
    OSError
        The kernel refuses; the child would keep holding the device of a dead recorder.
    """
    parent_pid = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"asking to be killed with the recorder: {os.strerror(error)}")
    # A parent that ended between the two calls sent no signal, and never will.
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def be_killed_first() -> None:
    """Have the kernel end this process before the recorder where memory is short."""
    score = Path("/proc/self/oom_score_adj")
    with suppress(OSError):  # without /proc it captures nevertheless
        if int(kernel.read_text(score)) < OOM_SCORE:
            score.write_text(str(OOM_SCORE))

"""Measures the cost of waking a process through a pipe on this machine.

Machines differ in it by several times, and so does the cost of a recorder that is woken often, next
to one that is not: a ratio of the two is to be read with it.
"""

import os
import time
from pathlib import Path

MESSAGES = 400
PAUSE_S = 0.025  # the processors sleep in between, as they do between two blocks


def wakeup_us() -> float:
    """Return the CPU time of a wake-up: of a sleeper by its timer, or of a reader by the sleeper.

    Scheduling them is counted, and a few lines of Python each.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        for _ in range(MESSAGES):
            time.sleep(PAUSE_S)
            os.write(writer, b"\n")
        os._exit(0)
    os.close(writer)
    before_ns = _own_cpu_ns()
    while os.read(reader, 1):
        pass
    reader_ns = _own_cpu_ns() - before_ns
    _, _, sleeper = os.wait4(pid, 0)
    os.close(reader)
    sleeper_s = sleeper.ru_utime + sleeper.ru_stime
    return (reader_ns * 1e-3 + sleeper_s * 1e6) / (2 * MESSAGES)


def _own_cpu_ns() -> int:
    return int(Path("/proc/thread-self/schedstat").read_text().split()[0])

import logging
import os
import queue
import subprocess
import sys

from edgerec.cli.logs import LINES_AT_ONCE, LINES_PER_S, MAX_KINDS, DroppingHandler, LogLimit
from tests.rigs.waiting import PATIENCE_S


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("edgerec", logging.INFO, __file__, 0, message, None, None)


def messages(waiting: queue.SimpleQueue) -> list[str]:
    return [waiting.get_nowait().getMessage() for _ in range(waiting.qsize())]


def test_a_log_that_nobody_reads_is_dropped_and_counted_and_never_waited_for():
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    handler = DroppingHandler(waiting, room=3)
    for number in range(8):
        handler.emit(record(f"line {number}"))
    assert messages(waiting) == ["line 0", "line 1", "line 2"]
    handler.emit(record("line 8"))
    handler.emit(record("line 9"))
    told, *lines = messages(waiting)
    assert "lines=5" in told
    assert lines == ["line 8", "line 9"]


LOGGER = """
import logging
from edgerec.cli.logs import log_to_stderr
log_to_stderr()
for number in range({lines}):
    logging.getLogger("edgerec.x").info("line number=%d", number)
{end}
"""


def test_the_last_lines_are_written_before_the_process_ends():
    code = LOGGER.format(lines=50, end="")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.stderr.splitlines()[-1] == "INFO edgerec.x: line number=49"


SIGNALLED = """
import logging, os, signal
from edgerec.cli.logs import log_to_stderr
log_to_stderr()
log = logging.getLogger("edgerec.x")
signal.signal(signal.SIGALRM, lambda *_: log.info("from the handler"))
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
for number in range(20_000):
    log.info("line number=%d", number)
signal.setitimer(signal.ITIMER_REAL, 0)
print("done", flush=True)
"""


def test_a_signal_handler_may_log_whatever_it_interrupts():
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.stdout == "done\n"


def test_a_full_pipe_on_stderr_does_not_stop_who_logs():
    """64 KiB fill the pipe; the lines behind them are logged all the same, and the work done."""
    reader, writer = os.pipe()
    code = LOGGER.format(lines=5_000, end="print('done', flush=True); import os; os._exit(0)")
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=writer,
        text=True,
        timeout=PATIENCE_S,
    )
    os.close(writer)
    os.close(reader)
    assert done.stdout == "done\n"


def line(sentence, *arguments, name="edgerec.x"):
    return logging.LogRecord(name, logging.INFO, __file__, 0, sentence, arguments, None)


def test_lines_of_one_kind_are_limited_whatever_they_are_about_and_others_are_not():
    now_s = [100.0]
    limit = LogLimit(lambda: now_s[0])
    for number in range(LINES_AT_ONCE):
        assert limit.admit(line("paused by=%d", number)) == 0
    assert limit.admit(line("paused by=%d", 1)) is None
    assert limit.admit(line("paused by=%d", 2)) is None
    assert limit.admit(line("published file=%s", "a.wav")) == 0
    now_s[0] += 1.5 / LINES_PER_S
    assert limit.admit(line("paused by=%d", 3)) == 2
    assert limit.admit(line("paused by=%d", 4)) is None


def test_a_flood_of_one_kind_is_a_few_lines_that_say_how_many_there_were(monkeypatch):
    waiting = queue.SimpleQueue()
    handler = DroppingHandler(waiting, 10 * LINES_AT_ONCE)
    now_s = [0.0]
    monkeypatch.setattr(handler, "_limit", LogLimit(lambda: now_s[0]))
    for _ in range(100_000):
        handler.handle(line("recording is paused"))
    now_s[0] += 1.0
    handler.handle(line("recording is paused"))
    told = [waiting.get().getMessage() for _ in range(waiting.qsize())]
    assert len(told) == LINES_AT_ONCE + 2
    assert f"left out lines={100_000 - LINES_AT_ONCE} kind='recording is paused'" in told[-2]


def test_no_number_of_kinds_takes_memory():
    limit = LogLimit(lambda: 0.0)
    for number in range(10 * MAX_KINDS):
        limit.admit(line(f"made up {number}"))
    assert len(limit._kinds) <= MAX_KINDS

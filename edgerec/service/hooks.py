"""Which programs are to run, and when again: the hooks of the configuration.

A thread of its own starts and watches them. Whoever reports an event is never kept waiting: what
there is no room for is dropped and counted. A program that fails for a file is tried again until
it succeeds or a sync job has fetched the file. What waits is in memory only: a restart forgets it.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import os
import queue
import selectors
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgerec.clock import Clock
from edgerec.config import HooksConfig
from edgerec.service.hook_process import HookProcess
from edgerec.service.threads import ThreadMaker
from edgerec.store.publish import Published
from edgerec.store.stock import ACK_SUFFIX

log = logging.getLogger(__name__)

_SECOND_NS: Final = 1_000_000_000
_IDLE_S: Final = 60.0  # between two looks when there is nothing to wait for


@dataclass(frozen=True, slots=True)
class HookLimits:
    """How much of a kiosk hooks may take."""

    running: int = 2
    """At once: a Pi has four cores, and the recording needs one of them now and then."""
    waiting: int = 256
    """To be run, or run again: two hours of 30 s chunks while an upload fails."""
    time_ns: int = 300 * _SECOND_NS
    """For one run: enough to upload 70 MB at 2 Mbit/s."""
    first_retry_ns: int = 10 * _SECOND_NS
    last_retry_ns: int = 600 * _SECOND_NS
    stop_ns: int = 5 * _SECOND_NS
    """For all that is still to be done when the service ends: systemd waits for 90 s."""


@dataclass(frozen=True, slots=True)
class HookCounts:
    """What has become of the hooks so far."""

    succeeded: int = 0
    failed: int = 0
    """Runs that ended in an exit status other than 0, took too long, or could not begin."""
    dropped: int = 0
    """That were never run, or not again, for want of room or time."""
    waiting: int = 0
    running: int = 0


@dataclass(frozen=True, slots=True)
class _Job:
    hook: str
    command: tuple[str, ...]
    file: Path | None = None
    """The published file it is about."""
    tries: int = 0


class Hooks:
    """Runs the configured programs, from `start` to `close`.

    `published`, `state_changed`, `configure` and `counts` are for any thread and never wait.
    """

    def __init__(
        self,
        config: HooksConfig,
        clock: Clock,
        limits: HookLimits | None = None,
        *,
        make_thread: ThreadMaker = threading.Thread,
    ) -> None:
        self._config = config
        self._clock = clock
        self._limits = limits or HookLimits()
        self._incoming: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._waiting: list[tuple[int, int, _Job]] = []  # a heap by the time it is due
        self._arrivals = 0
        self._running: dict[HookProcess, tuple[_Job, int]] = {}  # each with its deadline
        self._succeeded = self._failed = 0
        self._refused = 0  # by `_submit`, under the lock
        self._given_up = 0
        self._submitting = threading.Lock()  # held for a few instructions, never while waiting
        self._stop_ns: int | None = None
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._woken, selectors.EVENT_READ)
        self._thread = make_thread(target=self._run, name="hooks", daemon=True)

    @property
    def counts(self) -> HookCounts:
        """What has become of the hooks so far."""
        return HookCounts(
            succeeded=self._succeeded,
            failed=self._failed,
            dropped=self._refused + self._given_up,
            waiting=len(self._waiting) + self._incoming.qsize(),
            running=len(self._running),
        )

    def configure(self, config: HooksConfig) -> None:
        """Run other programs from the next event on."""
        self._config = config

    def published(self, published: Published) -> None:
        """Have the hook of a published file run."""
        on_turn = published.kind == "turn"
        command = self._config.on_turn if on_turn else self._config.on_chunk
        if not command or published.kind == "session":
            return
        named = {
            "path": str(published.path),
            "sidecar": str(published.sidecar),
            "kind": published.kind,
        }
        filled = tuple(argument.format(**named) for argument in command)
        self._submit(_Job("on_turn" if on_turn else "on_chunk", filled, published.path))

    def state_changed(self, state: str) -> None:
        """Have the hook of the service's state run."""
        if self._config.on_state:
            filled = tuple(argument.format(state=state) for argument in self._config.on_state)
            self._submit(_Job("on_state", filled))

    def start(self) -> None:
        """Begin to run what is reported."""
        self._thread.start()

    def close(self) -> None:
        """Run what is waiting for the first time, as far as `HookLimits.stop_ns` goes, and end."""
        self._stop_ns = self._clock.now_ns() + self._limits.stop_ns
        os.eventfd_write(self._woken, 1)
        self._thread.join()
        self._ready.close()
        os.close(self._woken)

    def step(self, timeout_s: float) -> bool:
        """Wait for something to do, and do it; return whether there is more to do before the end.

        For the hooks' own thread.
        """
        for key, _ in self._ready.select(timeout_s):
            if isinstance(key.data, HookProcess) and key.data in self._running:
                self._attend(key.data, ended=key.fileobj == key.data.end)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._woken)
        now_ns = self._clock.now_ns()
        while not self._incoming.empty():
            self._wait_until(self._incoming.get_nowait(), now_ns)
        for process, (_, deadline_ns) in list(self._running.items()):
            if now_ns >= deadline_ns:
                self._end(process, f"not done after {self._limits.time_ns / 1e9:g} s")
        if self._stop_ns is not None:
            self._hurry(self._stop_ns, now_ns)
        self._start_due(now_ns)
        return bool(self._running or self._waiting)

    def _run(self) -> None:
        more = True
        while more or self._stop_ns is None:
            more = self.step(self._patience_s())

    def _patience_s(self) -> float:
        """Return how long nothing needs to be done by itself."""
        due = [deadline_ns for _, deadline_ns in self._running.values()]
        if self._waiting and len(self._running) < self._limits.running:
            due.append(self._waiting[0][0])
        if self._stop_ns is not None:
            due.append(self._stop_ns)
        left_s = (min(due) - self._clock.now_ns()) / 1e9 if due else _IDLE_S
        return min(max(left_s, 0.0), _IDLE_S)

    def _submit(self, job: _Job) -> None:
        with self._submitting:
            if self.counts.waiting < self._limits.waiting:
                self._incoming.put(job)
                os.eventfd_write(self._woken, 1)
                return
            self._refused += 1
        log.warning("hook dropped, too many are waiting hook=%s file=%s", job.hook, job.file)

    def _wait_until(self, job: _Job, due_ns: int) -> None:
        self._arrivals += 1
        heapq.heappush(self._waiting, (due_ns, self._arrivals, job))

    def _hurry(self, stop_ns: int, now_ns: int) -> None:
        """Drop what was tried before; when the time is up, everything."""
        kept = [w for w in self._waiting if now_ns < stop_ns and w[2].tries == 0]
        if len(kept) < len(self._waiting):
            dropped = len(self._waiting) - len(kept)
            self._given_up += dropped
            log.warning("hooks dropped at the end of the service hooks=%d", dropped)
            self._waiting = kept
            heapq.heapify(self._waiting)
        if now_ns >= stop_ns:
            for process in list(self._running):
                self._end(process, "the service ends")

    def _start_due(self, now_ns: int) -> None:
        while (
            self._waiting
            and self._waiting[0][0] <= now_ns
            and len(self._running) < self._limits.running
        ):
            _, _, job = heapq.heappop(self._waiting)
            if job.tries == 0 or _unacknowledged(job):
                self._start(job, now_ns)

    def _start(self, job: _Job, now_ns: int) -> None:
        try:
            process = HookProcess(job.command)
        except (OSError, ValueError) as error:
            self._fail(job, str(error), [])
            return
        self._running[process] = (job, now_ns + self._limits.time_ns)
        self._ready.register(process.output, selectors.EVENT_READ, process)
        self._ready.register(process.end, selectors.EVENT_READ, process)

    def _attend(self, process: HookProcess, *, ended: bool) -> None:
        if ended:
            self._end(process, None)
            return
        process.read()
        if process.silent:
            self._ready.unregister(process.output)
        elif process.flooding:
            self._end(process, "it prints without end")

    def _end(self, process: HookProcess, fault: str | None) -> None:
        """Take note of how a program has ended, or end it because of a fault."""
        job, _ = self._running.pop(process)
        if not process.silent:
            self._ready.unregister(process.output)
        self._ready.unregister(process.end)
        status = process.finish()
        said = process.said()
        if fault is not None or status != 0:
            self._fail(job, fault or f"exit status {status}", said)
            return
        self._succeeded += 1
        for line in said:
            log.info("hook said hook=%s line=%r", job.hook, line)

    def _fail(self, job: _Job, why: str, said: list[str]) -> None:
        self._failed += 1
        for line in said:
            log.warning("hook said hook=%s line=%r", job.hook, line)
        again = job.file is not None and self._stop_ns is None
        delay_ns = min(
            self._limits.first_retry_ns << min(job.tries, 30), self._limits.last_retry_ns
        )
        log.warning(
            "hook failed hook=%s program=%s file=%s why=%r next_try_s=%s",
            job.hook,
            job.command[0],
            job.file,
            why,
            f"{delay_ns / 1e9:g}" if again else None,
        )
        if again:
            due_ns = self._clock.now_ns() + delay_ns
            self._wait_until(replace(job, tries=job.tries + 1), due_ns)


def _unacknowledged(job: _Job) -> bool:
    """Tell whether nobody has fetched the file that a hook failed for."""
    return (
        job.file is not None and job.file.exists() and not job.file.with_suffix(ACK_SUFFIX).exists()
    )

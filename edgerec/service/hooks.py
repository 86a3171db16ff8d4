"""Runs the programs configured as hooks, and reruns those that fail for a file.

A thread of its own starts and watches them; whatever fails about a hook is that hook's failure,
counted and logged, and affects nothing else. Reporting an event never waits: what there is no room
for is dropped and counted. A program that fails for a file is retried until it succeeds or a sync
job has fetched the file. The queue is in memory only: a restart forgets it.
"""

from __future__ import annotations

import contextlib
import heapq
import logging
import selectors
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

from edgerec.clock import SECOND_NS, Clock
from edgerec.config import HooksConfig
from edgerec.health.status import HookCounts
from edgerec.service.hook_process import HookProcess, Job
from edgerec.session.events import Event, EventBus, FilePublished, StateChanged
from edgerec.session.threads import ThreadMaker
from edgerec.waker import Waker

log = logging.getLogger(__name__)

_IDLE_S: Final = 60.0  # between two steps when there is nothing to wait for


@dataclass(frozen=True, slots=True)
class HookLimits:
    """Limits on the resources that hooks may use."""

    running: int = 2
    """Maximum number at once: a Pi has four cores, and the recording needs one now and then."""
    waiting: int = 256
    """Maximum number waiting to be run or rerun: two hours of 30 s chunks while uploads fail."""
    time_ns: int = 300 * SECOND_NS
    """Time limit of one run: enough to upload 70 MB at 2 Mbit/s."""
    first_retry_ns: int = 10 * SECOND_NS
    last_retry_ns: int = 600 * SECOND_NS
    stop_ns: int = 5 * SECOND_NS
    """Time limit for all remaining runs when the service ends: systemd waits for 90 s."""
    end_ns: int = 5 * SECOND_NS
    """Time limit for a program to be gone after being stopped: its keeper takes at most 2 s."""


class Hooks:
    """Runs the configured programs, from `start` to `close`.

    `configure` and `counts` are for any thread and never wait.
    """

    def __init__(
        self,
        config: HooksConfig,
        clock: Clock,
        events: EventBus,
        limits: HookLimits | None = None,
        *,
        make_thread: ThreadMaker = threading.Thread,
    ) -> None:
        self._config = config
        self._clock = clock
        self._limits = limits or HookLimits()
        self._waiting: list[tuple[int, int, Job]] = []  # a heap by the time it is due
        self._arrivals = 0
        self._running: dict[HookProcess, tuple[Job, int]] = {}  # each with its deadline
        self._succeeded = self._failed = 0
        self._dropped = 0
        self._trouble: dict[str, str] = {}  # by hook, replaced as a whole
        self._stop_ns: int | None = None
        self._waker = Waker()
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._waker, selectors.EVENT_READ)
        self._events = events
        self._reported = events.subscribe({FilePublished, StateChanged}, notify=self._waker.set)
        self._thread = make_thread(target=self._run, name="hooks")

    @property
    def counts(self) -> HookCounts:
        """Counts of hook runs so far."""
        return HookCounts(
            succeeded=self._succeeded,
            failed=self._failed,
            dropped=self._dropped + self._reported.dropped,
            waiting=len(self._waiting),
            running=len(self._running),
            trouble="; ".join(f"{hook}: {why}" for hook, why in self._trouble.items()) or None,
        )

    def configure(self, config: HooksConfig) -> None:
        """Run other programs from the next event on."""
        self._config = config

    def _take(self, event: Event, now_ns: int) -> None:
        """Have the hook of an event run."""
        match event:
            case FilePublished():
                self._take_file(event, now_ns)
            case StateChanged(of="recorder", state=state) if self._config.on_state:
                self._submit(Job("on_state", self._config.on_state, {"state": state}), now_ns)

    def _take_file(self, published: FilePublished, now_ns: int) -> None:
        on_turn = published.kind == "turn"
        command = self._config.on_turn if on_turn else self._config.on_chunk
        if not command or published.kind == "session":
            return
        named = {
            "path": str(published.path),
            "sidecar": str(published.sidecar),
            "kind": published.kind,
        }
        hook = "on_turn" if on_turn else "on_chunk"
        self._submit(Job(hook, command, named, published.path), now_ns)

    def __enter__(self) -> Self:
        """Begin to run what is reported."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Run what waits, as far as there is time, and end."""
        self.close()

    def start(self) -> None:
        """Start the hooks' thread."""
        self._thread.start()

    def close(self) -> None:
        """Run what is waiting for the first time, as far as `HookLimits.stop_ns` goes, and end."""
        self._events.unsubscribe(self._reported)
        self._stop_ns = self._clock.now_ns() + self._limits.stop_ns
        self._waker.set()
        self._thread.join()
        self._ready.close()
        self._waker.close()

    def step(self, timeout_s: float) -> bool:
        """Wait for something to do, and do it; return whether there is more to do before the end.

        For the hooks' own thread.
        """
        for key, _ in self._ready.select(timeout_s):
            if isinstance(key.data, HookProcess) and key.data in self._running:
                self._attend(key.data, ended=key.fileobj == key.data.end)
        self._waker.clear()
        now_ns = self._clock.now_ns()
        while (event := self._reported.take()) is not None:
            self._take(event, now_ns)
        for process, (_, deadline_ns) in list(self._running.items()):
            if now_ns >= deadline_ns and process.fault is not None:
                self._finish(process)  # it was stopped long ago
            elif now_ns >= deadline_ns:
                self._stop(process, f"not done after {self._limits.time_ns / 1e9:g} s")
        if self._stop_ns is not None:
            self._hurry(self._stop_ns, now_ns)
        self._start_due(now_ns)
        return bool(self._running or self._waiting)

    def _run(self) -> None:
        more = True
        while more or self._stop_ns is None:
            more = self.step(self._patience_s())

    def _patience_s(self) -> float:
        """Return the time until the next thing is due."""
        due = [deadline_ns for _, deadline_ns in self._running.values()]
        if self._waiting and len(self._running) < self._limits.running:
            due.append(self._waiting[0][0])
        if self._stop_ns is not None and any(p.fault is None for p in self._running):
            due.append(self._stop_ns)
        left_s = (min(due) - self._clock.now_ns()) / 1e9 if due else _IDLE_S
        return min(max(left_s, 0.0), _IDLE_S)

    def _submit(self, job: Job, now_ns: int) -> None:
        if len(self._waiting) < self._limits.waiting:
            self._wait_until(job, now_ns)
            return
        self._dropped += 1
        log.warning("hook dropped, too many are waiting hook=%s file=%s", job.hook, job.file)

    def _wait_until(self, job: Job, due_ns: int) -> None:
        self._arrivals += 1
        heapq.heappush(self._waiting, (due_ns, self._arrivals, job))

    def _hurry(self, stop_ns: int, now_ns: int) -> None:
        """Drop what was tried before; when the time is up, everything."""
        kept = [w for w in self._waiting if now_ns < stop_ns and w[2].tries == 0]
        if len(kept) < len(self._waiting):
            dropped = len(self._waiting) - len(kept)
            self._dropped += dropped
            log.warning("hooks dropped at the end of the service hooks=%d", dropped)
            self._waiting = kept
            heapq.heapify(self._waiting)
        if now_ns >= stop_ns:
            for process in self._running:
                if process.fault is None:
                    self._stop(process, "the service ends")

    def _start_due(self, now_ns: int) -> None:
        while (
            self._waiting
            and self._waiting[0][0] <= now_ns
            and len(self._running) < self._limits.running
        ):
            _, _, job = heapq.heappop(self._waiting)
            with self._at_its_own_cost(job):
                if job.tries == 0 or job.unacknowledged():
                    self._start(job, now_ns)

    @contextlib.contextmanager
    def _at_its_own_cost(self, job: Job) -> Iterator[None]:
        """Count whatever is raised inside as a failure of this hook."""
        try:
            yield
        except Exception as error:
            self._fail(job, f"{type(error).__name__}: {error}", [])

    def _start(self, job: Job, now_ns: int) -> None:
        process = HookProcess(job.filled())
        self._running[process] = (job, now_ns + self._limits.time_ns)
        self._ready.register(process.output, selectors.EVENT_READ, process)
        self._ready.register(process.end, selectors.EVENT_READ, process)

    def _attend(self, process: HookProcess, *, ended: bool) -> None:
        if ended:
            self._finish(process)
            return
        process.read()
        if process.silent:
            self._ready.unregister(process.output)
        elif process.flooding:
            self._stop(process, "it produced more output than allowed")

    def _stop(self, process: HookProcess, fault: str) -> None:
        """End a program because of a fault."""
        job, _ = self._running[process]
        self._running[process] = job, self._clock.now_ns() + self._limits.end_ns
        process.stop(fault)

    def _finish(self, process: HookProcess) -> None:
        """Take note of how a program has ended."""
        job, _ = self._running.pop(process)
        with self._at_its_own_cost(job):
            if not process.silent:
                self._ready.unregister(process.output)
            self._ready.unregister(process.end)
            fault = process.finish()
            self._note_end(job, fault, process.said())

    def _note_end(self, job: Job, fault: str | None, said: list[str]) -> None:
        if fault is not None:
            self._fail(job, fault, said)
            return
        self._succeeded += 1
        self._trouble = {hook: why for hook, why in self._trouble.items() if hook != job.hook}
        for line in said:
            log.info("hook said hook=%s line=%r", job.hook, line)

    def _fail(self, job: Job, why: str, said: list[str]) -> None:
        self._failed += 1
        self._trouble = {**self._trouble, job.hook: f"{job.command[0]}: {why}"}
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

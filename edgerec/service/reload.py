"""Reloads the configuration, and checks that the service could still start with its file.

All of a file applies, or none of it: everything that is wrong with it, or can't change while the
service runs, is reported at once, and the previous configuration stays in effect. The status has a
reason until the file is right again: with a wrong one the next boot would not record.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, Self

from edgerec.config import Config, ConfigError, absences, load_config
from edgerec.engine.changes import Changes, changes_between
from edgerec.engine.plan import Plan
from edgerec.health.status import Reason
from edgerec.session.threads import ThreadMaker
from edgerec.wire.messages import RefusedError

log = logging.getLogger(__name__)

LOOK_S: Final = 15.0  # as often as monitoring asks
CLOSE_S: Final = 5.0  # a file system that never answers must not keep the service from ending

FileState = tuple[int, int, int, int] | None
_NEVER: Final = (0, 0, 0, 0)


class Reloadable(Protocol):
    """An object that records by a plan; see `engine.engine.Engine`."""

    @property
    def plan(self) -> Plan:
        """The current plan."""
        ...

    def apply(self, plan: Plan, changes: Changes) -> None:
        """Record by another plan."""
        ...


class Reloader:
    """Reads the configuration again when it is asked to; a context manager.

    `reload` is for any thread. A signal handler can only `ask`: a separate thread then reloads; it
    also checks the file every `LOOK_S`.

    Parameters
    ----------
    file
        The file that the service was started with; no other file is ever read.
    load
        Reads the file.
    then
        Functions of components outside the recorder, such as hooks. Called one by one with the
        configuration that applies from now on; an exception is logged.
    """

    def __init__(
        self,
        recorder: Reloadable,
        file: Path,
        *,
        load: Callable[[Path], Config] = load_config,
        then: Sequence[Callable[[Config], None]] = (),
        make_thread: ThreadMaker = threading.Thread,
    ) -> None:
        self._recorder = recorder
        self._file = file
        self._load = load
        self._then = then
        self._lock = threading.Lock()
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = make_thread(target=self._run, name="reloader")
        self._seen: FileState = _NEVER
        self._trouble: Reason | None = None
        self._absent: tuple[Reason, ...] = ()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Finish what was begun."""
        self._asked.put(False)
        self._thread.join(CLOSE_S)

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Reasons: what is wrong with the file, or named in it and missing; for any thread."""
        trouble = self._trouble
        return self._absent if trouble is None else (trouble, *self._absent)

    def ask(self) -> None:
        """Reload soon, once for all requests until then; for signal handlers."""
        if self._asked.empty():
            self._asked.put(True)

    def reload(self) -> Changes:
        """Apply what the file says now; return what that changes.

        Raises
        ------
        ConfigError
            The file is wrong, or changes what a running service can't change; nothing applies.
        RefusedError
            Too many requests are waiting; nothing applies.
        """
        with self._lock:
            try:
                self._seen = _state_of(self._file)  # before it is read: a later change is seen
                plan, changes = self._read()
                self._recorder.apply(plan, changes)
            except ConfigError as error:
                log.error("configuration refused, the previous one stays in effect: %s", error)  # noqa: TRY400
                self._trouble = _trouble(error)
                raise
            except RefusedError as error:
                log.error("the configuration is not reloaded why=%r", str(error))  # noqa: TRY400
                raise
            log.info(
                "the configuration is reloaded changed=%s", ",".join(changes.paths) or "nothing"
            )
            self._trouble = None
            for apply in self._then:
                self._tell(apply, plan.config)
            return changes

    def look(self) -> None:
        """Check the file if it has changed, and whether what it names is there."""
        with self._lock:
            seen = _state_of(self._file)
            if seen != self._seen:
                self._seen = seen
                self._look_into()
        self._absent = tuple(
            Reason(one.path.partition(".")[0], None, f"{one.path}: {one.problem}", one.hint)
            for one in absences(self._recorder.plan.config)
        )

    def _look_into(self) -> None:
        try:
            plan = Plan.of(self._load(self._file))
        except ConfigError as error:
            log.warning("the changed configuration would be refused at a restart: %s", error)
            self._trouble = _trouble(error)
            return
        waits = changes_between(self._recorder.plan, plan).refused
        if self._trouble is not None and not waits:
            log.info("the configuration is right again")
            self._trouble = None
        elif self._trouble is not None:
            self._trouble = _trouble(ConfigError(self._file, waits))

    def _run(self) -> None:
        self.look()
        while True:
            try:
                asked = self._asked.get(timeout=LOOK_S)
            except queue.Empty:
                self.look()
                continue
            if not asked:
                return
            with contextlib.suppress(ConfigError, RefusedError):  # it is logged
                self.reload()
            self.look()

    def _read(self) -> tuple[Plan, Changes]:
        plan = Plan.of(self._load(self._file))
        changes = changes_between(self._recorder.plan, plan)
        if changes.refused:
            raise ConfigError(self._file, changes.refused)
        return plan, changes

    @staticmethod
    def _tell(apply: Callable[[Config], None], config: Config) -> None:
        try:
            apply(config)
        except Exception:
            # The recording already uses it; a component outside must not put that in doubt.
            log.exception("a part of the service failed to apply the new configuration")


def _state_of(file: Path) -> FileState:
    """Return values that change with a file's content; None: it is not there."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _trouble(error: ConfigError) -> Reason:
    first, *others = error.problems
    count = len(others) + error.more
    more = f" (and {count} more)" if count else ""
    return Reason(
        "config",
        None,
        f"{error.file} is not in effect: {first}{more}",
        f"the previous configuration stays in effect: correct {error.file}, try it with `edgerec "
        "check`, then `edgerec reload`, or restart the service where that is needed",
    )

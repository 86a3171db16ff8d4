"""Has the configuration changed, and what of it applies to the running service?

All of a file applies, or none of it: what is wrong with it, and what can't change while the
service runs, is told all at once, and the service goes on as it was.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from edgerec.capture.answers import RefusedError
from edgerec.config import Changes, Config, ConfigError, changes_between
from edgerec.service.threads import ThreadMaker

log = logging.getLogger(__name__)

BUILT_IN: Final = Path("(built-in defaults)")


class Reloadable(Protocol):
    """What a configuration applies to; see `recorder.Recorder`."""

    @property
    def config(self) -> Config:
        """As it is now."""
        ...

    def apply(self, config: Config, changes: Changes) -> None:
        """Go on with another one."""
        ...


class Reloader:
    """Reads the configuration anew when it is asked to; a context manager.

    `reload` is for any thread. A signal can only `ask`: a thread of its own does it then.

    Parameters
    ----------
    find, load
        Which file applies (None: the built-in defaults do), and what it says.
    then
        Called in turn with a configuration that applies from now on. They belong to what is built
        around the recorder, such as hooks; one that raises is logged.
    """

    def __init__(
        self,
        recorder: Reloadable,
        *,
        find: Callable[[], Path | None],
        load: Callable[[Path | None], Config],
        then: Sequence[Callable[[Config], None]] = (),
        make_thread: ThreadMaker = threading.Thread,
    ) -> None:
        self._recorder = recorder
        self._find = find
        self._load = load
        self._then = then
        self._lock = threading.Lock()
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = make_thread(target=self._run, name="reloader", daemon=True)

    def __enter__(self) -> Self:
        """Be there for signals."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish what was begun."""
        self._asked.put(False)
        self._thread.join()

    def ask(self) -> None:
        """Reload soon, and once for all that ask meanwhile; for signal handlers."""
        if self._asked.empty():
            self._asked.put(True)

    def reload(self) -> Changes:
        """Apply what the file says now; return what that changes.

        Raises
        ------
        ConfigError
            It is wrong, or more of it has changed than a running service can; nothing applies.
        RefusedError
            Too much is waiting to be done; nothing applies.
        """
        with self._lock:
            try:
                config, changes = self._read()
                self._recorder.apply(config, changes)
            except ConfigError as error:
                log.error("the configuration is refused, the one before stays: %s", error)  # noqa: TRY400
                raise
            except RefusedError as error:
                log.error("the configuration is not reloaded why=%r", str(error))  # noqa: TRY400
                raise
            log.info(
                "the configuration is reloaded changed=%s", ",".join(changes.paths) or "nothing"
            )
            for apply in self._then:
                self._tell(apply, config)
            return changes

    def _run(self) -> None:
        while self._asked.get():
            with contextlib.suppress(ConfigError, RefusedError):  # it is logged
                self.reload()

    def _read(self) -> tuple[Config, Changes]:
        file = self._find()
        config = self._load(file)
        changes = changes_between(self._recorder.config, config)
        if changes.refused:
            raise ConfigError(file or BUILT_IN, changes.refused)
        return config, changes

    @staticmethod
    def _tell(apply: Callable[[Config], None], config: Config) -> None:
        try:
            apply(config)
        except Exception:
            # The recording goes on with it; what else there is must not make that uncertain.
            log.exception("a part of the service does not take the new configuration")

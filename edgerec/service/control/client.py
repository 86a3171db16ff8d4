"""The commands' connection to the running service."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from edgerec.health.status import Status
from edgerec.validation.typed import from_plain

PATIENCE_S: Final = 10.0  # for an answer; the service gives them in milliseconds
_READ_BYTES: Final = 1 << 16
_TIMEVAL: Final = struct.Struct("@ll")  # of socket(7): seconds and microseconds, 0: no limit


class ServiceError(Exception):
    """The service can't be reached, or refuses a request.

    Attributes
    ----------
    told
        The service's answer: code, message, hint; empty without one.
    """

    def __init__(self, message: str, told: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.told = told or {}


class ServiceConnection:
    """A connection to the control socket; a context manager.

    Parameters
    ----------
    paths
        Paths to try: the first at which a service listens that lets us in is used.

    Raises
    ------
    ServiceError
        None does, or one does not answer; the message lists those tried.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._received = b""
        tried = []
        for path in paths:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                self._connect(path)
            except OSError as error:
                self._socket.close()
                tried.append(f"{path}: {error.strerror or error}")
                if isinstance(error, BlockingIOError):
                    break  # it is busy, and the request is not another service's
            else:
                return
        raise ServiceError(
            f"no service at {', nor at '.join(tried)}; "
            "is `edgerec run` running, with this control.socket?"
        )

    def _connect(self, path: Path) -> None:
        """Connect, waiting a while for a queue that is full: nobody may ever accept."""
        whole, part = divmod(PATIENCE_S, 1)
        patience = _TIMEVAL.pack(int(whole), max(round(part * 1e6), int(not whole)))
        # The kernel's own timeout: it serves waiting clients in order.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
        self._socket.connect(str(path))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _TIMEVAL.pack(0, 0))

    def request(self, command: str, args: Mapping[str, object]) -> Mapping[str, object]:
        """Return the result of a command.

        Raises
        ------
        ServiceError
            The service refuses it, or does not answer.
        """
        line = json.dumps({"id": 1, "command": command, "args": args}).encode() + b"\n"
        self.send(line)
        return self.answer(PATIENCE_S)

    def status(self) -> Status:
        """Return the service's status, as far as this version understands it.

        Raises
        ------
        ServiceError
            The service does not answer, or with what is not a status.
        """
        try:
            return from_plain(Status, self.request("status", {}))
        except ValueError as error:
            hint = "is the service of another version? `edgerec status --json` prints what it says"
            raise ServiceError(f"the answer is not understood: {error}; {hint}") from error

    def send(self, data: bytes) -> None:
        """Send data, as fast as the service takes it.

        Raises
        ------
        ServiceError
            It has ended the connection; with the reason that it gave.
        """
        self._socket.settimeout(None)  # a feed is kept waiting while its queue is full
        try:
            self._socket.sendall(data)
        except OSError:
            self.answer(PATIENCE_S)  # its last line says more than our error
            raise

    def receive(self) -> bytes:
        """Return what comes next on a connection that has become a stream; empty at its end.

        Raises
        ------
        ServiceError
            The connection failed.
        """
        data, self._received = self._received, b""
        self._socket.settimeout(None)
        try:
            return data or self._socket.recv(_READ_BYTES)
        except OSError as error:
            raise ServiceError(f"the service is gone: {error}") from error

    def finish(self) -> None:
        """Say that no more comes."""
        self._socket.shutdown(socket.SHUT_WR)

    def answer(self, patience_s: float | None) -> Mapping[str, object]:
        """Return the next answer's result.

        Parameters
        ----------
        patience_s
            How long to wait for it; None: indefinitely.

        Raises
        ------
        ServiceError
            It is a refusal, or none comes.
        """
        self._socket.settimeout(patience_s)
        try:
            while b"\n" not in self._received:
                data = self._socket.recv(_READ_BYTES)
                if not data:
                    raise ServiceError("the service closed the connection without an answer")
                self._received += data
        except OSError as error:
            raise ServiceError(f"no answer from the service: {error}") from error
        line, _, self._received = self._received.partition(b"\n")
        return result_of(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def result_of(line: bytes) -> Mapping[str, object]:
    """Return the result in an answer of the service.

    Raises
    ------
    ServiceError
        It is a refusal.
    """
    answer = json.loads(line)
    if not answer["ok"]:
        told = answer["error"]
        raise ServiceError("; ".join(filter(None, (told["message"], told["hint"]))), told)
    result: Mapping[str, object] = answer["result"]
    return result

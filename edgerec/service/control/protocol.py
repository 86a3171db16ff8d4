"""The protocol of the control socket: one JSON request per line, and the answer to each.

A command takes the request's `args` and returns its result, or raises `RefusedError`. It runs in
the control thread, and never waits.
"""

from __future__ import annotations

import difflib
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from typing import Final, Protocol, TypeVar

from edgerec.validation.bounded_json import JsonError, parse_object
from edgerec.validation.typed import InvalidError, Wrong, from_plain, in_short
from edgerec.wire.messages import RefusedError, error_line, result_line

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_FIELDS: Final = ("id", "command", "args")


@dataclass(frozen=True, slots=True)
class Takeover:
    """Hands the connection to another part of the service, which also sends the answer."""

    take: Callable[[socket.socket, bytes, bytes], None]
    """Called with the connection, what was read after the request, and the answer to send first;
    raises `RefusedError` if it does not take over."""


class Messages(Protocol):
    """The messages that one connection is still to receive; for the control thread."""

    @property
    def missed(self) -> int:
        """Number of messages that were dropped for lack of room."""
        ...

    def take(self) -> bytes | None:
        """Return the next one; None if there is none now."""
        ...

    def close(self) -> None:
        """Stop taking in messages."""
        ...


@dataclass(frozen=True, slots=True)
class Stream:
    """Messages that follow the answer as they come, until the client goes."""

    open: Callable[[Callable[[], None]], Messages]
    """Called with a function to call, in any thread, when there is another message."""
    is_audio: bool = False
    """Whether the connection becomes a block stream, on which no more requests are read."""


Result = Mapping[str, object]
Command = Callable[[Mapping[str, object]], Result | Takeover | Stream]


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of one request."""

    line: bytes
    """The line for the client."""
    takeover: Takeover | None = None
    """The part that sends the line and owns the connection from then on."""
    request_id: object = None
    stream: Stream | None = None
    """The messages that follow the answer."""


def answer(line: bytes, commands: Mapping[str, Command]) -> Answer:
    """Carry out the request in one line, and return its answer.

    Any line gets an answer, even a malformed one; no exception is raised.
    """
    request_id: object = None
    try:
        request = _parse(line)
        request_id = _valid_id(request)
        command, args = _chosen(request, commands)
        result = command(args)
    except RefusedError as error:
        return Answer(error_line(request_id, error.code, str(error), error.hint))
    except Exception:
        # A fault of ours. It must not cost the other clients their service; here it is logged.
        log.exception("control command failed request=%r", line[:200])
        told = "the command failed inside the service"
        return Answer(error_line(request_id, "internal", told, "its log says why"))
    if isinstance(result, Takeover):
        return Answer(result_line(request_id, {}), result, request_id)
    if isinstance(result, Stream):
        return Answer(result_line(request_id, {}), None, request_id, result)
    return Answer(result_line(request_id, result))


def _parse(line: bytes) -> dict[str, object]:
    hint = 'send one JSON object per line, such as {"id": 1, "command": "status"}'
    try:
        return parse_object(line)
    except JsonError as error:
        raise RefusedError("malformed", f"the request is not JSON: {error}", hint) from None


def _valid_id(request: Mapping[str, object]) -> object:
    request_id = request.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, int | str | None):
        raise RefusedError("malformed", "id is not a number or text", "use either, or leave it out")
    return request_id


def _chosen(
    request: Mapping[str, object], commands: Mapping[str, Command]
) -> tuple[Command, Mapping[str, object]]:
    unknown = [name for name in request if name not in _FIELDS]
    if unknown:
        hint = f"there are: {', '.join(_FIELDS)}"
        raise RefusedError("bad_args", f"no field {in_short(unknown[0])}", hint)
    name = request.get("command")
    if not isinstance(name, str) or name not in commands:
        close = difflib.get_close_matches(name, commands, n=1) if isinstance(name, str) else []
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(commands)}"
        raise RefusedError("unknown_command", f"no command {in_short(name)}", hint)
    args = request.get("args", {})
    if not isinstance(args, dict):
        raise RefusedError("bad_args", "args is not a JSON object", 'such as {"track": "bot"}')
    return commands[name], args


def arguments(kind: type[_T], given: Mapping[str, object]) -> _T:
    """Return a command's arguments as the dataclass that has them as fields.

    Raises
    ------
    RefusedError
        One is unknown or missing, or has a value that its annotation does not allow.
    """
    try:
        return from_plain(kind, given, strict=True)
    except InvalidError as error:
        problems, hints = zip(*map(_refusal, error.wrong), strict=True)
        raise RefusedError("bad_args", "; ".join(problems), "; ".join(hints)) from error


def _refusal(wrong: Wrong) -> tuple[str, str]:
    """Return what is wrong, and what to do about it."""
    if wrong.shape is None:
        hint = f"there are: {', '.join(wrong.known)}" if wrong.known else "there are none"
        return f"no field {in_short(wrong.given)}", hint
    given = "missing" if wrong.given is MISSING else in_short(wrong.given)
    return f"{wrong.path} is {given}", f"use {wrong.shape.expected}"

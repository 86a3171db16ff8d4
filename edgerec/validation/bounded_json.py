"""The one reader of JSON files that others may have written, bounded in time and memory.

Whatever a name leads to (a pipe, a folder, a link, a sparse terabyte, a million brackets, numbers
of 400 digits), reading it takes bounded time and memory, and every failure is a `JsonError`:
callers have one exception to expect, and nothing else can end their thread.
"""

from __future__ import annotations

import errno
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

MAX_DEPTH: Final = 16  # a sidecar is 5 deep
MAX_VALUES: Final = 200_000  # a sidecar with all the gaps that it may list has 70,000
MAX_NUMBER_CHARS: Final = 32  # 64 bits have 20, a float's shortest form 24

_T = TypeVar("_T")


class JsonError(Exception):
    """A file that is not what it should be, or can't be read.

    Attributes
    ----------
    errno
        The system's error number, where it can't be read; ENOENT: it is not there.
    """

    def __init__(self, problem: str, number: int | None = None) -> None:
        super().__init__(problem)
        self.errno = number

    @property
    def missing(self) -> bool:
        """Whether there is no such file."""
        return self.errno == errno.ENOENT


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file of at most `max_bytes`; never waits for a writer.

    Raises
    ------
    OSError
        It can't be opened or read, is a link or not a regular file, or is larger.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(fd, "rb", buffering=0) as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        data = b""
        if found.st_size <= max_bytes:  # a file that grows meanwhile is read no further than that
            while piece := file.read(max_bytes + 1 - len(data)):
                data += piece
        if max(len(data), found.st_size) > max_bytes:
            raise OSError(errno.EFBIG, f"larger than {max_bytes} bytes", str(path))
        return data


def parse_json(data: bytes) -> Any:
    """Return what a JSON document says.

    Raises
    ------
    JsonError
        It is not JSON in UTF-8, or deeper, longer or with larger numbers than edgerec writes.
    """
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_VALUES:  # before anything is made of them
        raise JsonError(f"more than {MAX_VALUES} values")
    try:
        value = _DECODER.decode(data.decode())
        _check_depth(value)
    except Exception as error:
        raise JsonError(_told(error)) from error
    return value


def read_json(path: Path, build: Callable[[Any], _T], *, max_bytes: int) -> _T:
    """Return what `build` makes of a JSON file.

    Parameters
    ----------
    build
        Called with the file's value; any exception from it means that the file is malformed.

    Raises
    ------
    JsonError
        It can't be read, or is malformed.
    """
    try:
        return build(parse_json(read_bounded(path, max_bytes)))
    except JsonError:
        raise
    except OSError as error:
        raise JsonError(_told(error), error.errno) from error
    except Exception as error:
        raise JsonError(_told(error)) from error


def read_object(path: Path, *, max_bytes: int) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises
    ------
    JsonError
        It can't be read, or is malformed.
    """
    return read_json(path, _object, max_bytes=max_bytes)


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object that a line holds.

    Raises
    ------
    JsonError
        It is malformed.
    """
    return _object(parse_json(data))


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise JsonError("not a JSON object")
    return value


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        if not inner:
            return
        level = inner
    raise ValueError(f"more than {MAX_DEPTH} levels deep")


def _whole(text: str) -> int:
    return int(_short(text))


def _real(text: str) -> float:
    number = float(_short(text))
    if not math.isfinite(number):
        raise ValueError(f"{text} is out of range")
    return number


def _short(text: str) -> str:
    if len(text) > MAX_NUMBER_CHARS:
        raise ValueError(f"a number of {len(text)} characters")
    return text


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _told(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, KeyError):
        return f"without the field {error}"
    return str(error) or type(error).__name__


_DECODER: Final = json.JSONDecoder(parse_int=_whole, parse_float=_real, parse_constant=_no_constant)

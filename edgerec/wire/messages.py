"""Messages that the service sends to the clients of its socket, one JSON object per line.

The control socket's answers and the last line on a feed's connection have the same form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping


class RefusedError(Exception):
    """A request that can't be fulfilled, through no fault of the service; reported to the client.

    Attributes
    ----------
    code
        A word for programs.
    hint
        What to do about it.
    """

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


def result_line(request_id: object, result: Mapping[str, object]) -> bytes:
    """Return the answer to a request that was done."""
    return _line({"id": request_id, "ok": True, "result": result})


def error_line(request_id: object, code: str, message: str, hint: str) -> bytes:
    """Return the answer to a request that could not be done.

    Parameters
    ----------
    code
        A word for programs.
    message, hint
        For people: what was wrong with what, and what to do about it.
    """
    error = {"code": code, "message": message, "hint": hint}
    return _line({"id": request_id, "ok": False, "error": error})


def _line(answer: Mapping[str, object]) -> bytes:
    return json.dumps(answer, ensure_ascii=True).encode() + b"\n"

"""Queries a PulseAudio server's latencies through libpulse, over one kept connection.

Only what dating needs: which source a process records from, which sink that source monitors, and
the latencies of both. Nothing waits longer than `ANSWER_S`. Not for more than one thread. Without
numpy: the capture child uses it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, Structure, c_char_p, c_int, c_uint8, c_uint32, c_uint64, c_void_p
from dataclasses import dataclass
from typing import Any, Final

from edgerec.clock import raw_now_ns

LIBRARY: Final = "libpulse.so.0"
CONNECT_S: Final = 2.0
ANSWER_S: Final = 0.1
"""Limit for the answers to one round of queries; a working server answers in a millisecond."""
MAX_MASTERS: Final = 8
"""Maximum length of a chain of virtual sources; a longer one is not followed."""

_STREAMS: Final = 0x0C
"""Event mask of playback and recording streams."""
_DEVICES: Final = 0x03
_FACILITY: Final = 0x0F
_KIND: Final = 0x30
_CHANGE: Final = 0x10
_FIRST_STREAM_FACILITY: Final = 2

_READY: Final = 4
_NO_AUTOSPAWN: Final = 1
_INVALID: Final = 2**32 - 1


class LibpulseError(Exception):
    """The server can't be queried."""


@dataclass(frozen=True, slots=True)
class ServerStream:
    """A recording stream, as the server knows it."""

    index: int
    source: int


@dataclass(frozen=True, slots=True)
class Latencies:
    """Latencies of one stream, and of the sink whose signal it carries."""

    source: int
    """Index of the source from which the stream records."""
    buffer_us: int
    """Audio that is recorded and still in the server's buffer for this stream."""
    source_us: int
    """Latency from the source to the server."""
    sink_us: tuple[int, int]
    """Latency of the sink, asked before and after the stream's; zeros without a sink."""
    sink_asked_ns: tuple[int, int]
    """Instants at which these answers came, on CLOCK_MONOTONIC_RAW."""
    lump_us: int
    """Configured latency of the sink: what it renders at once."""


class _Spec(Structure):
    _fields_ = (("format", c_int), ("rate", c_uint32), ("channels", c_uint8))


class _ChannelMap(Structure):
    _fields_ = (("channels", c_uint8), ("map", c_int * 32))


class _Volume(Structure):
    _fields_ = (("channels", c_uint8), ("values", c_uint32 * 32))


class _StreamInfo(Structure):
    """The beginning of `pa_source_output_info`."""

    _fields_ = (
        ("index", c_uint32), ("name", c_char_p), ("owner_module", c_uint32), ("client", c_uint32),
        ("source", c_uint32), ("spec", _Spec), ("map", _ChannelMap), ("buffer_usec", c_uint64),
        ("source_usec", c_uint64), ("resample_method", c_char_p), ("driver", c_char_p),
        ("proplist", c_void_p),
    )  # fmt: skip


class _DeviceInfo(Structure):
    """The beginning of `pa_sink_info`, and of `pa_source_info`, which has the same layout."""

    _fields_ = (
        ("name", c_char_p), ("index", c_uint32), ("description", c_char_p), ("spec", _Spec),
        ("map", _ChannelMap), ("owner_module", c_uint32), ("volume", _Volume), ("mute", c_int),
        ("other_index", c_uint32), ("other_name", c_char_p), ("latency", c_uint64),
        ("driver", c_char_p), ("flags", c_int), ("proplist", c_void_p),
        ("configured_latency", c_uint64),
    )  # fmt: skip


_Callback = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_int, c_void_p)
_EventCallback = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_uint32, c_void_p)
_FUNCTIONS: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "pa_mainloop_new": (c_void_p, ()),
    "pa_mainloop_free": (None, (c_void_p,)),
    "pa_mainloop_get_api": (c_void_p, (c_void_p,)),
    "pa_mainloop_prepare": (c_int, (c_void_p, c_int)),
    "pa_mainloop_poll": (c_int, (c_void_p,)),
    "pa_mainloop_dispatch": (c_int, (c_void_p,)),
    "pa_context_new": (c_void_p, (c_void_p, c_char_p)),
    "pa_context_connect": (c_int, (c_void_p, c_char_p, c_int, c_void_p)),
    "pa_context_disconnect": (None, (c_void_p,)),
    "pa_context_unref": (None, (c_void_p,)),
    "pa_context_get_state": (c_int, (c_void_p,)),
    "pa_context_get_source_output_info": (c_void_p, (c_void_p, c_uint32, _Callback, c_void_p)),
    "pa_context_get_source_output_info_list": (c_void_p, (c_void_p, _Callback, c_void_p)),
    "pa_context_get_source_info_by_index": (c_void_p, (c_void_p, c_uint32, _Callback, c_void_p)),
    "pa_context_get_source_info_by_name": (c_void_p, (c_void_p, c_char_p, _Callback, c_void_p)),
    "pa_context_get_sink_info_by_index": (c_void_p, (c_void_p, c_uint32, _Callback, c_void_p)),
    "pa_context_set_subscribe_callback": (None, (c_void_p, _EventCallback, c_void_p)),
    "pa_context_subscribe": (c_void_p, (c_void_p, c_int, c_void_p, c_void_p)),
    "pa_operation_unref": (None, (c_void_p,)),
    "pa_proplist_gets": (c_char_p, (c_void_p, c_char_p)),
}


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise LibpulseError(f"loading {LIBRARY}: {error}") from error
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class _Question:
    """One query in progress; libpulse calls it back from `PulseConnection._turn`."""

    def __init__(self, structure: type[Structure], take: Callable[[Any], None]) -> None:
        self.done = False
        self._structure = structure
        self._take = take
        self.callback = _Callback(self._answer)

    def _answer(self, _context: Any, info: Any, end: int, _data: Any) -> None:
        if end == 0 and info:
            self._take(ctypes.cast(info, POINTER(self._structure)).contents)
        else:
            self.done = True  # the end of the list, or a refusal


class PulseConnection:
    """A connection to the server that the environment names.

    Raises
    ------
    LibpulseError
        libpulse is not installed, or the server does not answer within `CONNECT_S`.
    """

    def __init__(self, name: str) -> None:
        self._library = _load()
        self._loop = self._library.pa_mainloop_new()
        api = self._library.pa_mainloop_get_api(self._loop)
        self._context = self._library.pa_context_new(api, name.encode())
        self._unanswered: list[_Question] = []
        self._has_changed = False
        self._event_callback = _EventCallback(self._take_event)
        self._library.pa_context_connect(self._context, None, _NO_AUTOSPAWN, None)
        self._await(lambda: self._state() >= _READY, CONNECT_S)
        if self._state() != _READY:
            self.close()
            raise LibpulseError("the sound server does not answer")

    def close(self) -> None:
        """Disconnect."""
        self._library.pa_context_disconnect(self._context)
        self._library.pa_context_unref(self._context)
        self._library.pa_mainloop_free(self._loop)

    def follow(self) -> None:
        """Have the server send events about its streams and devices; see `take_changes`."""
        library = self._library
        library.pa_context_set_subscribe_callback(self._context, self._event_callback, None)
        operation = library.pa_context_subscribe(self._context, _STREAMS | _DEVICES, None, None)
        if operation:
            library.pa_operation_unref(operation)

    def take_changes(self) -> bool:
        """Return whether a stream or device came or went, or a stream changed, since the last call.

        Also true when the connection is lost, as its events are lost, too.
        """
        while self._state() == _READY and self._turn(0) > 0:
            pass
        changed, self._has_changed = self._has_changed or self._state() != _READY, False
        return changed

    def _take_event(self, _context: Any, event: int, _index: int, _data: Any) -> None:
        is_stream = event & _FACILITY >= _FIRST_STREAM_FACILITY
        self._has_changed = self._has_changed or is_stream or event & _KIND != _CHANGE

    def stream_of(self, pid: int) -> ServerStream | None:
        """Return the recording stream of a process; None if it has none."""
        found: list[ServerStream] = []

        def take(info: _StreamInfo) -> None:
            if self._property(info.proplist, "application.process.id") == str(pid):
                found.append(ServerStream(info.index, info.source))

        self._ask("source_output_info_list", None, _StreamInfo, take)
        return found[-1] if found else None

    def monitored_sink(self, source: int) -> int | None:
        """Return the sink that a source monitors, directly or through virtual sources.

        Returns
        -------
        None for a microphone.
        """
        key: int | str = source
        for _ in range(MAX_MASTERS):
            sink, master = self._source(key)
            if sink is not None or master is None:
                return sink
            key = master
        return None

    def latencies(self, stream: int, sink: int | None) -> Latencies | None:
        """Ask for the latencies of a stream and of the sink it monitors; None without an answer.

        Sends nothing while an earlier query is open, so that at most three ever are.
        """
        self._await(lambda: not self._open, ANSWER_S)
        if self._open:
            return None
        before: list[tuple[int, int, int]] = []
        after: list[tuple[int, int, int]] = []
        own: list[tuple[int, int, int]] = []
        questions = []
        if sink is not None:
            questions.append(self._begin("sink_info_by_index", sink, _DeviceInfo, _sink(before)))
        questions.append(
            self._begin(
                "source_output_info",
                stream,
                _StreamInfo,
                lambda info: own.append((info.source, info.buffer_usec, info.source_usec)),
            )
        )
        if sink is not None:
            questions.append(self._begin("sink_info_by_index", sink, _DeviceInfo, _sink(after)))
        self._await(lambda: all(question.done for question in questions), ANSWER_S)
        if not own or (sink is not None and not (before and after)):
            return None
        first, last = (before[0], after[0]) if sink is not None else ((0, 0, 0), (0, 0, 0))
        return Latencies(*own[0], (first[0], last[0]), (first[2], last[2]), last[1])

    def _source(self, key: int | str) -> tuple[int | None, str | None]:
        """Return the sink that a source monitors, and the source that it is made of."""
        found: list[tuple[int | None, str | None]] = []

        def take(info: _DeviceInfo) -> None:
            sink = None if info.other_index == _INVALID else info.other_index
            found.append((sink, self._property(info.proplist, "device.master_device")))

        if isinstance(key, int):
            self._ask("source_info_by_index", key, _DeviceInfo, take)
        else:
            self._ask("source_info_by_name", key.encode(), _DeviceInfo, take)
        return found[0] if found else (None, None)

    def _property(self, proplist: int, key: str) -> str | None:
        value = self._library.pa_proplist_gets(proplist, key.encode())
        return None if value is None else value.decode(errors="replace")

    def _ask(
        self,
        what: str,
        key: int | bytes | None,
        structure: type[Structure],
        take: Callable[[Any], None],
    ) -> None:
        question = self._begin(what, key, structure, take)
        self._await(lambda: question.done, ANSWER_S)

    def _begin(
        self,
        what: str,
        key: int | bytes | None,
        structure: type[Structure],
        take: Callable[[Any], None],
    ) -> _Question:
        question = _Question(structure, take)
        arguments = () if key is None else (key,)
        function = getattr(self._library, f"pa_context_get_{what}")
        operation = function(self._context, *arguments, question.callback, None)
        if operation:
            self._library.pa_operation_unref(operation)
            self._unanswered.append(question)
        else:
            question.done = True  # the connection is gone
        return question

    @property
    def _open(self) -> list[_Question]:
        """The questions without an answer, which are kept: libpulse holds their callbacks."""
        self._unanswered = [question for question in self._unanswered if not question.done]
        return self._unanswered

    def _state(self) -> int:
        return int(self._library.pa_context_get_state(self._context))

    def _await(self, is_done: Callable[[], bool], limit_s: float) -> None:
        give_up_ns = raw_now_ns() + round(limit_s * 1e9)
        while not is_done() and (left_ns := give_up_ns - raw_now_ns()) > 0:
            if self._state() > _READY or self._turn(left_ns // 1000) < 0:
                break

    def _turn(self, wait_us: int) -> int:
        """Run the main loop once; return how many events it handled, negative on failure."""
        library, loop = self._library, self._loop
        if library.pa_mainloop_prepare(loop, wait_us) < 0 or library.pa_mainloop_poll(loop) < 0:
            return -1
        return int(library.pa_mainloop_dispatch(loop))


def _sink(answers: list[tuple[int, int, int]]) -> Callable[[_DeviceInfo], None]:
    """Return a function that notes a sink's latency, configured latency and the answer's time."""
    return lambda info: answers.append((info.latency, info.configured_latency, raw_now_ns()))

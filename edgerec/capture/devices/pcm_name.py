"""Resolves an ALSA PCM name to the plug-in that records, and to its source on a sound server.

Read from ALSA's own configuration; nothing is opened and no server is asked. `default` may be a
sound card, PulseAudio's plug-in or PipeWire's, and `asound.conf` may call any of them anything.
Without numpy: the capture child uses it.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

_LIBRARY: Final = "libasound.so.2"
_MOST_LINKS: Final = 32  # of a chain; one that refers to itself has no end
_SOURCE_KEYS: Final = {"pulse": "device", "pipewire": "capture_node"}
_NO_SOURCE: Final = ("", "-1")  # -1: any of PipeWire's nodes, so its default

_TARGET: Final = re.compile(r'\b(?:target\.object|node\.target)"?\s*[=:]?\s*"?([^\s"=:,{}]+)')
_CAPTURES_SINK: Final = re.compile(r'\bstream\.capture\.sink"?\s*[=:]?\s*"?true\b')

# snd_lib_error_handler_t, without its variable arguments.
_ErrorHandler = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
)


@dataclass(frozen=True, slots=True)
class PcmTarget:
    """The end of the chain of plug-ins that a PCM name leads to, when it is recorded."""

    plugin: str
    """Type of the last plug-in: `pulse`, `pipewire`, `hw`, `null`, ..."""
    source: str | None = None
    """Source that ALSA's configuration names; None: a server's default, or no sound server."""
    server: str | None = None
    """Address of the PulseAudio that it names; None: the one of PULSE_SERVER, or no PulseAudio."""

    @property
    def is_served(self) -> bool:
        """Whether a sound server delivers what is recorded."""
        return self.plugin in _SOURCE_KEYS


def resolve_pcm(name: str) -> PcmTarget | None:
    """Return what a PCM name leads to; None for an unknown name, or where there is no ALSA."""
    try:
        with _configuration() as alsa:
            return _follow(name, alsa)
    except (OSError, AttributeError):  # no library, or one of before 2016
        return None


def source_of_pcm(target: PcmTarget, env: Mapping[str, str]) -> str | None:
    """Return the source that a stream asks its server for; None: the server's default.

    Parameters
    ----------
    env
        Environment of the process that opens the PCM; it may give both plug-ins a source.
    """
    if target.plugin == "pulse":
        return _by_name(target.source or env.get("PULSE_SOURCE"))
    settings = " ".join(env.get(name, "") for name in ("PIPEWIRE_ALSA", "PIPEWIRE_PROPS"))
    named = _TARGET.search(settings)
    source = _by_name(env.get("PIPEWIRE_NODE") or (named[1] if named else target.source))
    if source is not None and _CAPTURES_SINK.search(settings):
        return f"{source}.monitor"
    return source


def _by_name(source: str | None) -> str | None:
    """Leave out numbers, which change, and names such as @DEFAULT_SOURCE@."""
    if not source or source.isdecimal() or source.startswith("@"):
        return None
    return source


class _Alsa:
    """ALSA's configuration as it is now; nodes are pointers, good until it is closed."""

    def __init__(self, library: Any, top: ctypes.c_void_p) -> None:
        self._library = library
        self._top = top
        self._definitions: list[ctypes.c_void_p] = []

    def definition(self, base: str, name: str) -> ctypes.c_void_p | None:
        """Return the definition of a name, with its arguments and functions evaluated."""
        node = ctypes.c_void_p()
        status = self._library.snd_config_search_definition(
            self._top, base.encode(), name.encode(), ctypes.byref(node)
        )
        if status < 0:
            return None
        self._definitions.append(node)
        return node

    def child(self, node: ctypes.c_void_p, key: str) -> ctypes.c_void_p | None:
        """Return the node under a key, such as `slave.pcm`."""
        child = ctypes.c_void_p()
        status = self._library.snd_config_search(node, key.encode(), ctypes.byref(child))
        return None if status < 0 else child

    def text(self, node: ctypes.c_void_p | None) -> str | None:
        """Return a value as text; None for none, and for a node that has more under it."""
        text = ctypes.c_void_p()
        if node is None or self._library.snd_config_get_ascii(node, ctypes.byref(text)) < 0:
            return None
        try:
            return ctypes.string_at(text.value).decode(errors="replace") if text.value else None
        finally:
            ctypes.CDLL(None).free(text)

    def close(self) -> None:
        for definition in self._definitions:
            self._library.snd_config_delete(definition)
        self._library.snd_config_unref(self._top)


@contextmanager
def _configuration() -> Iterator[_Alsa]:
    library = ctypes.CDLL(_LIBRARY)
    top = ctypes.c_void_p()
    # Otherwise ALSA reports a name that leads to no card on standard error.
    ignore = _ErrorHandler(lambda *_: None)
    library.snd_lib_error_set_handler(ignore)
    try:
        status = library.snd_config_update_ref(ctypes.byref(top))
        if status < 0:
            raise OSError(-status, "reading ALSA's configuration")
        alsa = _Alsa(library, top)
        try:
            yield alsa
        finally:
            alsa.close()
    finally:
        library.snd_lib_error_set_handler(None)


def _follow(name: str, alsa: _Alsa) -> PcmTarget | None:
    node = alsa.definition("pcm", name)
    for _ in range(_MOST_LINKS):
        if node is None:
            return None
        pcm = _recorded_pcm(node, alsa)
        if pcm is None:
            return _last(node, alsa)
        named = alsa.text(pcm)
        node = pcm if named is None else alsa.definition("pcm", named)
    return None


def _recorded_pcm(node: ctypes.c_void_p, alsa: _Alsa) -> ctypes.c_void_p | None:
    """Return what a plug-in records from: a PCM or the name of one; None where it is the last."""
    pcm = alsa.child(node, "capture.pcm")
    if pcm is not None:
        return pcm
    slave = alsa.child(node, "slave")
    if named := alsa.text(slave):
        slave = alsa.definition("pcm_slave", named)
    return None if slave is None else alsa.child(slave, "pcm")


def _last(node: ctypes.c_void_p, alsa: _Alsa) -> PcmTarget | None:
    plugin = alsa.text(alsa.child(node, "type"))
    if plugin is None:
        return None
    key = _SOURCE_KEYS.get(plugin)
    source = None if key is None else alsa.text(alsa.child(node, key))
    server = alsa.text(alsa.child(node, "server")) if plugin == "pulse" else None
    return PcmTarget(plugin, None if source in _NO_SOURCE else source, server or None)

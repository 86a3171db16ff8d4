"""edgerec: an edge recorder for voice kiosks, and the same recorder inside a program.

Start with `Recorder` and `load_config`; the other names are the events that handlers receive and
the exceptions. Everything is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from edgerec.version import __version__ as __version__

if TYPE_CHECKING:
    from edgerec.api.asynchronous import AsyncRecorder, EventIterator
    from edgerec.api.audio_data import AudioData, Gap, TrackAudioData, Turn
    from edgerec.api.dispatcher import HandlerCounts
    from edgerec.api.handlers import HandlerError
    from edgerec.api.held_file import AudioGoneError
    from edgerec.api.recorder import Recorder, RecorderError
    from edgerec.api.running import EventCounts
    from edgerec.config import Config, ConfigError, load_config, make_config
    from edgerec.feeds.connection import FeedError
    from edgerec.session.events import (
        FilePublished,
        GapFound,
        RecordingStarted,
        RecordingStopped,
        StateChanged,
    )
    from edgerec.store.disk import StoreError

__all__ = [
    "AsyncRecorder",
    "AudioData",
    "AudioGoneError",
    "Config",
    "ConfigError",
    "EventCounts",
    "EventIterator",
    "FeedError",
    "FilePublished",
    "Gap",
    "GapFound",
    "HandlerCounts",
    "HandlerError",
    "Recorder",
    "RecorderError",
    "RecordingStarted",
    "RecordingStopped",
    "StateChanged",
    "StoreError",
    "TrackAudioData",
    "Turn",
    "load_config",
    "make_config",
]

_HOMES: Final = {
    "edgerec.api.asynchronous": ("AsyncRecorder", "EventIterator"),
    "edgerec.api.audio_data": ("AudioData", "Gap", "TrackAudioData", "Turn"),
    "edgerec.api.dispatcher": ("HandlerCounts",),
    "edgerec.session.events": (
        "FilePublished",
        "GapFound",
        "RecordingStarted",
        "RecordingStopped",
        "StateChanged",
    ),
    "edgerec.api.held_file": ("AudioGoneError",),
    "edgerec.api.recorder": ("Recorder", "RecorderError"),
    "edgerec.api.handlers": ("HandlerError",),
    "edgerec.api.running": ("EventCounts",),
    "edgerec.feeds.connection": ("FeedError",),
    "edgerec.config": ("Config", "ConfigError", "load_config", "make_config"),
    "edgerec.store.disk": ("StoreError",),
}


def __getattr__(name: str) -> object:
    """Load a public name from where it lives: `edgerec --help` needs none of it, nor numpy."""
    for module, names in _HOMES.items():
        if name in names:
            globals()[name] = value = getattr(importlib.import_module(module), name)
            return value
    raise AttributeError(f"module 'edgerec' has no attribute {name!r}")

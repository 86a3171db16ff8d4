"""edgerec: an edge recorder for voice kiosks, and the same recorder inside a program.

Start with `Recorder` and `load_config`; the other names are the events that handlers receive and
the exceptions. `edgerec.api` says where each one lives; all are loaded when one is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from edgerec.version import __version__ as __version__

if TYPE_CHECKING:
    from edgerec.api import *
else:

    def __getattr__(name: str) -> object:
        """Load the public names when one is used: `edgerec --help` needs none of them, nor numpy.

        Names of modules come here too, and are imported without the others.
        """
        if name not in __all__:
            raise AttributeError(f"module 'edgerec' has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module("edgerec.api"), name)
        return value


__all__ = [
    "AsyncRecorder",
    "AudioData",
    "AudioGoneError",
    "AudioLate",
    "AudioRefused",
    "Config",
    "ConfigError",
    "ControlSocketError",
    "EventCounts",
    "EventIterator",
    "FeedError",
    "FilePublished",
    "Gap",
    "GapFound",
    "HandlerCounts",
    "HandlerError",
    "Played",
    "Pushed",
    "Recorder",
    "RecorderError",
    "RecordingStarted",
    "RecordingStopped",
    "StateChanged",
    "StoreError",
    "Tap",
    "TapBlock",
    "TrackAudioData",
    "Turn",
    "load_config",
    "make_config",
]

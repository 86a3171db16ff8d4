"""How is the service: what `edgerec status` is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from edgerec import __version__
from edgerec.audio import TRACKS, TrackName
from edgerec.capture.child import SourceState
from edgerec.service.timeline import SessionTimeline


class Watched(Protocol):
    """A source that says how it is; read from the control thread, replaced as a whole."""

    @property
    def state(self) -> SourceState:
        """How it is now."""
        ...


def describe(
    timeline: SessionTimeline | None, sources: Mapping[TrackName, Watched], now_ns: int
) -> dict[str, object]:
    """Return the status as JSON values.

    Parameters
    ----------
    timeline
        Of the session; None while there is none.
    """
    recording = timeline is not None and timeline.stop is None
    seconds = 0.0 if timeline is None else timeline.history.committed / timeline.rate
    return {
        "version": __version__,
        "recording": recording,
        "session_seconds": round(seconds, 3) if recording else None,
        "tracks": {
            name: _track(sources[name].state, now_ns) if name in sources else {"state": "off"}
            for name in TRACKS
        },
    }


def _track(state: SourceState, now_ns: int) -> dict[str, object]:
    return {
        "state": state.name,
        "for_seconds": round((now_ns - state.since_ns) / 1e9, 1),
        "detail": state.detail,
        "restarts": state.restarts,
    }

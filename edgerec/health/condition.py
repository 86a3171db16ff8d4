"""Conditions of a track's sound: how long each must last to be a warning, and the warning's text.

Pure values and counters; `signal_quality` decides what is heard.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

from edgerec.audio import TrackName
from edgerec.health.status import Reason

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a condition must last to raise a warning, and be over to clear it."""

    raise_s: float
    clear_s: float


PATIENCE: Final = {
    "silent": {
        # A live microphone has noise; exact zeros for a minute are a mute switch.
        "user": Patience(60, 1),
        # A loudspeaker may well be silent: that is odd while the room is not, for a quarter of an
        # hour, and where the room is quiet too, after a day.
        "bot": Patience(900, 1),
    },
    "stuck": {"user": Patience(30, 5), "bot": Patience(30, 5)},
    # Ten bad seconds with less than a minute between them: not one laugh, but a gain.
    "clipped": {"user": Patience(10, 60), "bot": Patience(10, 60)},
    # Of seconds in which there is something to hear on both.
    "identical": {"bot": Patience(30, 10)},
    # Of seconds in which there is something to hear on its channels.
    "cancels": {"user": Patience(30, 10), "bot": Patience(30, 10)},
}

_TOLD: Final = {
    "silent": (
        "the {track} track has been digital silence for {seconds:.0f} s",
        "is it muted, or the wrong input? `edgerec devices` lists the inputs; on a sound "
        "server its channels may cancel each other: try tracks.{track}.channels: [1]; "
        "for the loudspeaker, `edgerec loopback` shows how to record it",
    ),
    "stuck": (
        "the {track} track has repeated the same samples for {seconds:.0f} s",
        "its driver hangs, or its cable picks up nothing but hum: plug it in again",
    ),
    "clipped": (
        "the {track} track is too loud: it clipped in {seconds:.0f} of the last seconds",
        "turn its gain down: `alsamixer` (F4), `pactl set-source-volume`, or the amplifier",
    ),
    "identical": (
        "the bot track is the same signal as the user track",
        "its device is not the loudspeaker's loopback: `edgerec loopback` shows how to record "
        "that, `edgerec doctor --chirp` proves it",
    ),
    "cancels": (
        "the channels of the {track} device cancel each other: little is left of their mean",
        "record one of them, such as tracks.{track}.channels: [1]; a microphone between two "
        "channels is wired for a balanced input",
    ),
}


class Condition:
    """One thing that may be wrong with one track, over time."""

    def __init__(self, code: str, track: TrackName, patience: Patience) -> None:
        self.code = code
        self.track = track
        self._patience = patience
        self._bad_s = self._good_s = self._lasts_s = 0.0
        self.raised = False

    def note(self, *, bad: bool, seconds: float, counts: float = 1.0) -> None:
        """Note that the last `seconds` were bad or good; `counts` is the weight of bad ones."""
        if bad:
            self._bad_s += seconds * counts
            self._lasts_s += seconds
            self._good_s = 0.0
        else:
            self._good_s += seconds
            if self._good_s >= self._patience.clear_s:
                self._bad_s = self._lasts_s = 0.0
        was = self.raised
        self.raised = self._bad_s >= self._patience.raise_s
        if self.raised and not was:
            log.warning("signal is wrong track=%s code=%s", self.track, self.code)
        elif was and not self.raised:
            log.info("signal is right again track=%s code=%s", self.track, self.code)

    @property
    def reason(self) -> Reason:
        """The warning while the condition is raised."""
        why, hint = _TOLD[self.code]
        told = why.format(track=self.track, seconds=self._lasts_s)
        return Reason(self.code, self.track, told, hint.format(track=self.track))

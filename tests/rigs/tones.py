"""Sources and a loudspeaker of a PipeWire, each of which sounds its own tone: whose is recorded."""

import os
import re
import subprocess
from collections.abc import Iterable, Iterator

import numpy as np

from tests.rigs import deaths
from tests.rigs.true_sound import RATE, Track

TONES_HZ = {"m": 440, "o": 880, "L": 1760}
"""Of the microphone, of another one, and of the loudspeaker."""
WINDOW = RATE // 10
HEARD = 1000.0  # of 32768, of a tone that is played at 8000

PLAY = "sox -q -n -t raw -r 48000 -c 1 -e signed -b 16 - synth sine {hz} vol 0.25 2>/dev/null"
INTO = "exec pacat --raw --rate=48000 --channels=1 --format=s16le --device={sink}"


class Tones:
    """Two microphones and a loudspeaker that sound until they are closed.

    Parameters
    ----------
    server
        A PipeWire, as `scripts/sound-server` starts it.
    """

    def __init__(self, server) -> None:
        self._server = server
        self._load("null-sink", "sink_name=other_feed", "channels=1", "channel_map=mono")
        sinks = {"m": "kiosk_mic_feed", "o": "other_feed", "L": "kiosk_speaker"}
        self._players = [self._play(TONES_HZ[tone], sink) for tone, sink in sinks.items()]
        self.plug_in("other")

    def plug_in(self, microphone: str) -> None:
        """Put a microphone back, and make it the default."""
        form = ("channels=1", "channel_map=mono")
        names = (f"source_name={microphone}", f"master={microphone}_feed.monitor")
        self._load("remap-source", *names, *form)
        self._server.pactl("set-default-source", microphone)

    def destroy(self, microphone: str) -> None:
        """Take a microphone's node away, as when it is unplugged."""
        env = os.environ | self._server.env
        subprocess.run(
            ["pw-cli", "destroy", microphone], env=env, check=True, stdout=subprocess.DEVNULL
        )

    def close(self) -> None:
        for player in self._players:
            deaths.forget(player)
            player.kill()
            player.wait()

    def _load(self, module: str, *arguments: str) -> None:
        self._server.pactl("load-module", f"module-{module}", *arguments)

    def _play(self, hz: int, sink: str) -> subprocess.Popen[bytes]:
        command = f"{PLAY.format(hz=hz)} | {INTO.format(sink=sink)}"
        player = subprocess.Popen(["bash", "-c", command], env=os.environ | self._server.env)
        deaths.watch_process(f"the player of {sink}", player, may_end=False)
        return player


def heard(track: Track) -> str:
    """Return what is heard in each tenth of a second: tones, `.` for a gap, `~` for anything else.

    Of tones that meet in one tenth each is heard if it is loud enough.
    """
    gaps = np.zeros(len(track.samples), dtype=bool)
    for start, stop, _ in track.gaps:
        gaps[start:stop] = True
    starts = range(0, len(track.samples) - WINDOW + 1, WINDOW)
    return "".join(
        _heard(track.samples[start : start + WINDOW], gaps[start : start + WINDOW].any())
        for start in starts
    )


def _heard(samples: np.ndarray, has_gap: bool) -> str:
    turns = np.outer(np.arange(WINDOW) / RATE, list(TONES_HZ.values()))
    loud = 2 * np.abs(samples @ np.exp(-2j * np.pi * turns)) / WINDOW
    tones = [tone for tone, one in zip(TONES_HZ, loud, strict=True) if one > HEARD]
    if tones:
        return max(zip(loud, TONES_HZ, strict=True))[1] if "L" not in tones else "L"
    return "." if has_gap else "~"


def in_order(heard_tones: str) -> str:
    """Return what is heard without repetitions; of silence and gaps only gaps."""
    return "".join(_changes(re.sub("~", "", heard_tones)))


def _changes(letters: Iterable[str]) -> Iterator[str]:
    last = ""
    for letter in letters:
        if letter != last:
            yield letter
        last = letter

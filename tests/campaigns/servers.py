"""Both tracks behind a sound server: how far apart, from the first second, in many conditions.

Each start has a server, players and a recorder of its own. Noise is played into the loudspeaker's
sink and into the one whose monitor is the microphone, by players that note when the sink plays
which frame (`tests.rigs.dated_player`); recorded windows of it are found again by correlation.
`same` is one sink heard by its monitor and through a remap source: its truth is 0, whatever a
server says.
"""

import argparse
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgerec.audio import TRACKS
from tests.rigs.alignment import find
from tests.rigs.dated_player import RATE, DatedPlayer, instants_of, played_noise
from tests.rigs.linked_player import LinkedPlayer
from tests.rigs.made_recordings import audio
from tests.rigs.server_traces import BEFORE_NS, TRUTH_S, Stream, write
from tests.rigs.sound_server import SoundServer
from tests.rigs.waiting import PATIENCE_S

WINDOW = RATE // 10
CHUNK_S = 2.5
TRUTH = round(TRUTH_S * RATE)
LIKE = 0.9
FIRST_S, SETTLED_S = 1.2, 10.0
PAUSES = "play:3,pause:1,play:2,pause:0.1,play:2,pause:2"
COMINGS = 5
SINKS = {"user": "kiosk_mic_feed", "bot": "kiosk_speaker"}
DEVICES = {"user": "pulse:kiosk_mic", "bot": "pulse:kiosk_speaker.monitor"}
PCMS = {"user": "kiosk_mic", "bot": "kiosk_loopback"}
SAME = {"user": "pulse:kiosk_mic", "bot": "pulse:kiosk_mic_feed.monitor"}


@dataclass(frozen=True)
class Condition:
    """Latencies that the players ask for, in ms, and what happens meanwhile."""

    user_ms: int
    bot_ms: int
    script: str = ""
    modules: tuple[str, ...] = ()
    devices: dict[str, str] = field(default_factory=lambda: DEVICES)
    comings: bool = False
    is_busy: bool = False
    is_pipewire: bool = False
    """One player of `bot_ms` into both sinks, or, for `same`, into the microphone's."""


LOOPBACK = (
    "module-null-sink sink_name=other",
    "module-loopback source=other.monitor sink=kiosk_speaker latency_msec=60",
)
CONDITIONS = {
    "2000/2000": Condition(2000, 2000),
    "500/500": Condition(500, 500),
    "100/100": Condition(100, 100),
    "500/20": Condition(500, 20),
    "20/2000": Condition(20, 2000),
    "pauses": Condition(500, 2000, script=PAUSES),
    "comings": Condition(500, 100, comings=True),
    "suspend": Condition(2000, 2000, modules=("module-suspend-on-idle timeout=1",)),
    "loopback": Condition(500, 500, modules=LOOPBACK),
    "same": Condition(500, 500, devices=SAME),
    "busy": Condition(2000, 2000, is_busy=True),
    "pipewire 2000": Condition(0, 2000, is_pipewire=True),
    "pipewire 500": Condition(0, 500, is_pipewire=True),
    "pipewire 100": Condition(0, 100, is_pipewire=True),
    "pipewire 20": Condition(0, 20, is_pipewire=True),
    "pipewire PCMs": Condition(0, 100, devices=PCMS, is_pipewire=True),
    "pipewire comings": Condition(0, 500, comings=True, is_pipewire=True),
    "pipewire same": Condition(0, 500, devices=SAME, is_pipewire=True),
    "pipewire busy": Condition(0, 100, is_busy=True, is_pipewire=True),
}


@dataclass(frozen=True)
class Start:
    """What one start shows.

    Attributes
    ----------
    at_s
        Of each window in which both tracks have noise, since the session began.
    apart_ms
        User's error less the bot's, in that window.
    stated_ms
        Sum of both tracks' `residual_us`, by the end of each chunk.
    gaps
        Reason and seconds.
    """

    at_s: np.ndarray
    apart_ms: np.ndarray
    stated_ms: list[tuple[float, float]]
    gaps: list[tuple[str, str, float]]

    def most_ms(self, start_s: float, stop_s: float) -> float:
        """Return how far the tracks are apart at most; nan where nothing is to be heard."""
        within = abs(self.apart_ms[(self.at_s >= start_s) & (self.at_s < stop_s)])
        return float(within.max()) if len(within) else math.nan

    def uncovered(self) -> int:
        """Return how many chunks have a window at their end that is further off than stated."""
        bad = 0
        for end_s, stated_ms in self.stated_ms:
            bad += self.most_ms(end_s - 0.5, end_s) > stated_ms  # of nan it is not
        return bad


def measure(folder: Path, condition: Condition, seconds: float, seed: str) -> Start:
    """Start everything once, and look at what was recorded."""
    return _read(
        folder / "root", perform(folder, condition, seconds, seed, "run"), heard(condition)
    )


def trace(folder: Path, condition: Condition, seconds: float, seed: str) -> dict[str, Any]:
    """Start everything once, and return what the capture children deliver, with the truth."""
    files = {track: folder / f"{track}.trace" for track in TRACKS}
    files_named = [word for track in TRACKS for word in (f"--{track}", str(files[track]))]
    logs = perform(folder, condition, seconds, seed, "trace", *files_named)
    streams = {track: Stream.of(files[track]) for track in TRACKS}
    start_ns = min(stream.blocks[0].arrived_ns for stream in streams.values()) - BEFORE_NS
    tracks = {}
    for track, stream in streams.items():
        at, played = locate(stream.mono, played_noise(heard(condition)[track]), TRUTH)
        log = logs.get(track)
        true_ns = played * 1e9 / RATE if log is None else instants_of(log, played)
        tracks[track] = stream.reduced(at, true_ns, start_ns)
    return {"is_relative": condition.is_pipewire, "tracks": tracks}


def heard(condition: Condition) -> dict[str, int]:
    """Return which noise each track hears."""
    is_one = condition.is_pipewire or condition.devices is SAME
    return {"user": 0, "bot": 0 if is_one else 1}


def perform(
    folder: Path, condition: Condition, seconds: float, seed: str, *command: str
) -> dict[str, np.ndarray | None]:
    """Start everything once, with that command of edgerec; return what the players noted."""
    choice = random.Random(seed)
    with ExitStack() as stack:
        server = SoundServer(folder / "sound", is_pipewire=condition.is_pipewire)
        stack.callback(server.close)
        for module in condition.modules:
            server.pactl("load-module", *module.split())
        players = _play(stack, server, folder, condition, seconds)
        if condition.is_busy:
            for _ in range(os.cpu_count() or 1):
                spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
                stack.callback(spinner.kill)
        time.sleep(choice.uniform(0.5, 3.0))
        recorder = _record(folder, server, condition.devices, command)
        stack.callback(recorder.kill)
        end_s = time.monotonic() + seconds
        for number in range(COMINGS if condition.comings else 0):
            time.sleep(choice.uniform(0.5, 1.5))
            latency_ms = choice.choice([20, 100, 500, 2000])
            script = "pause:0.2,play:0.05,pause:0.6"
            log = folder / f"{number}.log"
            DatedPlayer(server, log, "kiosk_speaker", latency_ms, 2, script)
        time.sleep(max(end_s - time.monotonic(), 0))
        recorder.send_signal(signal.SIGTERM)
        assert recorder.wait(PATIENCE_S) == 0
        logs = {track: player.finish() for track, player in players.items()}
    if condition.devices is SAME:
        logs["bot"] = logs.get("user")
    return logs


def _play(
    stack: ExitStack, server: SoundServer, folder: Path, condition: Condition, seconds: float
) -> dict[str, DatedPlayer]:
    """Start the players; return those that note what is played when."""
    if condition.is_pipewire:
        stack.callback(LinkedPlayer(server, folder, condition.bot_ms, SINKS["user"]).close)
        return {}
    script = f"{condition.script},play:{seconds}" if condition.script else f"play:{seconds + 8}"
    latencies = {"user": condition.user_ms, "bot": condition.bot_ms}
    players = {}
    for number, track in enumerate(TRACKS):
        log = folder / f"{track}.log"
        players[track] = DatedPlayer(server, log, SINKS[track], latencies[track], number, script)
        stack.callback(players[track].close)
    return players


def _record(
    folder: Path, server: SoundServer, devices: dict[str, str], asked: Iterable[str]
) -> subprocess.Popen[bytes]:
    settings = {
        "recording": {"chunk_seconds": CHUNK_S, "sample_rate": RATE},
        "tracks": {track: {"device": device} for track, device in devices.items()},
        "storage": {"root": str(folder / "root")},
        "control": {"socket": str(folder / "control.sock")},
    }
    config = folder / "edgerec.yaml"
    config.write_text(json.dumps(settings))  # JSON is YAML
    command = [sys.executable, "-m", "edgerec", *asked, "--config", str(config)]
    with (folder / "recorder.log").open("w") as log:
        return subprocess.Popen(command, env=os.environ | server.env, stderr=log)


def _read(root: Path, logs: dict[str, np.ndarray | None], heard: dict[str, int]) -> Start:
    chunks = sorted(root.glob("ready/**/*_chunk.wav"))
    pcm = np.concatenate([np.frombuffer(audio(chunk), "<i2") for chunk in chunks]).reshape(-1, 2)
    sidecars = [json.loads(chunk.with_suffix(".json").read_text()) for chunk in chunks]
    errors = {}
    for index, track in enumerate(TRACKS):
        at, played = locate(pcm[:, index].astype(float), played_noise(heard[track]))
        log = logs.get(track)  # none: both sinks play the same frames in the same cycles
        true_ns = played * 1e9 / RATE if log is None else instants_of(log, played)
        errors[track] = dict(zip(at.tolist(), at * 1e9 / RATE - true_ns, strict=True))
    both = sorted(errors["user"].keys() & errors["bot"].keys())
    apart = np.array([errors["user"][at] - errors["bot"][at] for at in both]) / 1e6
    known = ~np.isnan(apart)
    stated, gaps, end_s = [], [], 0.0
    for sidecar in sidecars:
        end_s += sidecar["frames"] / RATE
        tracks = sidecar["tracks"]
        if all(tracks[track]["residual_us"] is not None for track in TRACKS):
            stated.append((end_s, sum(tracks[track]["residual_us"] for track in TRACKS) / 1e3))
        gaps += [
            (track, gap["reason"], gap["frames"] / RATE)
            for track in TRACKS
            for gap in tracks[track]["gaps"]
        ]
    return Start(np.array(both)[known] / RATE, apart[known], stated, gaps)


def locate(
    samples: np.ndarray, played: np.ndarray, step: int = WINDOW // 2
) -> tuple[np.ndarray, np.ndarray]:
    """Return which windows of a recording are noise, and which frame of it each begins with."""
    reference = played.astype(float)
    at, found = [], []
    expected = None
    for start in range(0, len(samples) - WINDOW, step):
        window = samples[start : start + WINDOW]
        if window.std() < 50:
            continue
        first = None
        if expected is not None:
            low = max(expected + start - WINDOW, 0)
            first = _like(window, reference, low, reference[low : low + 3 * WINDOW])
        if first is None:
            first = _like(window, reference, 0, reference)
        if first is not None:
            expected = first - start
            at.append(start)
            found.append(first)
    return np.array(at, dtype=int), np.array(found, dtype=float)


def _like(window: np.ndarray, reference: np.ndarray, low: int, piece: np.ndarray) -> int | None:
    if len(piece) <= len(window):
        return None
    first = low + find(window, piece)
    there = reference[first : first + len(window)]
    return first if np.corrcoef(window, there)[0, 1] > LIKE else None


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the campaign."""
    parser.add_argument("--times", type=int, default=20, help="starts of each (default: 20)")
    parser.add_argument("--seconds", type=float, default=18.0, help="of each (default: 18)")
    parser.add_argument(
        "--traces",
        metavar="FOLDER",
        type=Path,
        help="measure nothing; write one trace of each there",
    )
    parser.add_argument("--only", choices=CONDITIONS, nargs="+", default=list(CONDITIONS))


def run(args: argparse.Namespace) -> int:
    """Measure, and print a row for each condition; an error that is not stated is a failure."""
    if args.traces:
        for name in args.only:
            with tempfile.TemporaryDirectory() as folder:
                found = trace(Path(folder), CONDITIONS[name], args.seconds, f"{name} trace")
            print(write(args.traces, name, found), flush=True)
        return 0
    print("ms: 95 % and at most")
    print("| condition | starts | first second | after 10 s | uncovered | stated | gaps |")
    print("|---|---|---|---|---|---|---|")
    bad = 0
    for name in args.only:
        starts = []
        for number in range(args.times):
            with tempfile.TemporaryDirectory() as folder:
                seed = f"{name} {number}"
                starts.append(measure(Path(folder), CONDITIONS[name], args.seconds, seed))
        first = _sorted(start.most_ms(0, FIRST_S) for start in starts)
        settled = _sorted(start.most_ms(SETTLED_S, math.inf) for start in starts)
        stated = _sorted(ms for one in starts for end_s, ms in one.stated_ms if end_s > SETTLED_S)
        uncovered = sum(start.uncovered() for start in starts)
        gaps = [gap for start in starts for gap in start.gaps]
        bad += uncovered
        print(
            f"| {name} | {args.times} | {_most(first)} | {_most(settled)} | {uncovered}"
            f" | {_most(stated)} | {gaps or ''} |",
            flush=True,
        )
    return 1 if bad else 0


def _sorted(values: Iterable[float]) -> list[float]:
    return sorted(value for value in values if not math.isnan(value))


def _most(values: list[float]) -> str:
    """Return the 95th percentile and the largest of values in order."""
    if not values:
        return "-"
    return f"{values[int(0.95 * (len(values) - 1))]:.2f}, {values[-1]:.2f}"

"""Where both cards' audio stands on the timeline, start by start: how far from where it was played.

`snd-aloop` moves with the kernel's ticks, every 4 ms, or later where a tick is; what a card has
played by a tick was played at its earliest. Only the standard library, as `tests.vm.kiosk`.
"""

import json
import math
import random
import re
import shutil
import signal
import statistics
import subprocess
import threading
import time
import wave
from array import array
from dataclasses import dataclass, field
from pathlib import Path

from tests.vm.machine import PATIENCE_S, check, wait_for
from tests.vm.ramp import PERIOD_S, RATE_HZ, Player, played

TRACKS = {"user": "Mic", "bot": "Spk"}
FIRST_S, SETTLED_S = 1.2, 10.0
WINDOW_S = 0.25  # of which the median counts: a recorded sample is rounded to 0.3 ms
CHUNK_S = 2.5
LOOKS_S = (0.005, 0.03)
MAX_ASKING_NS = 1_000_000
NO_SHIFT = 100_000  # of snd-aloop's "PCM Rate Shift": a greater one is slower
SHIFTS = {"user": 99_991, "bot": 100_014}
SECONDS, SKEWED_S = 18.0, 190.0
FIRST_MS, SETTLED_MS, DRIFT_PPM = 10.0, 3.0, 5.0
_POSITION = re.compile(
    r"^state: RUNNING$.*^trigger_time: (\d+)\.(\d{9})$.*^hw_ptr *: (\d+)$", re.M | re.S
)


def measure(starts, folder=Path("/var/tmp/placing")):
    """Print a row for so many starts, and one for cards of different crystals; check the bounds."""
    print("ms: the most of all starts")
    print("| cards | starts | first second | after 10 s | outside what is stated | stated | gaps |")
    print("|---|---|---|---|---|---|---|")
    same = _with_cards({}, lambda rig: [rig.record(folder, SECONDS) for _ in range(starts)])
    _judge("alike", same, SETTLED_S)
    skewed = _with_cards(SHIFTS, lambda rig: [rig.record(folder, SKEWED_S)])
    _judge("90 ppm fast, 140 ppm slow", skewed, SKEWED_S - 10)
    for track, value in SHIFTS.items():
        true_ppm = (NO_SHIFT / value - 1) * 1e6
        told_ppm = skewed[0].drift_ppm[track]
        print(f"{track}: drift {true_ppm:.1f} ppm, told as {told_ppm:.1f}")
        check(abs(told_ppm - true_ppm) <= DRIFT_PPM, f"{track}: drift {told_ppm}, not {true_ppm}")


def _judge(name, starts, settled_s):
    first_ms = max(start.apart_ms(0, FIRST_S) for start in starts)
    settled_ms = max(start.apart_ms(settled_s) for start in starts)
    outside = sum(start.outside() for start in starts)
    stated_ms = max(start.most_stated_ms(settled_s) for start in starts)
    gaps = [gap for start in starts for gap in start.gaps]
    print(
        f"| {name} | {len(starts)} | {first_ms:.2f} | {settled_ms:.2f} | {outside}"
        f" | {stated_ms:.2f} | {gaps or ''} |",
        flush=True,
    )
    check(first_ms <= FIRST_MS, f"{name}: {first_ms:.2f} ms apart in the first second")
    check(settled_ms <= SETTLED_MS, f"{name}: {settled_ms:.2f} ms apart after {settled_s:.0f} s")
    check(not outside, f"{name}: {outside} times further off than stated")


class Positions:
    """What both cards say of how far they have played, until it is closed."""

    def __init__(self):
        self._seen = {card: [] for card in TRACKS.values()}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._look, name="positions")
        self._thread.start()

    def close(self):
        self._closing.set()
        self._thread.join()

    def began_ns(self, card, run_ns, rate_hz):
        """Return when a card began to play: it can be late to say how far it is, never early."""
        seen = [(at_ns, frames) for run, at_ns, frames in self._seen[card] if run == run_ns]
        return min(at_ns - frames * 1_000_000_000 / rate_hz for at_ns, frames in seen)

    def _look(self):
        while not self._closing.wait(random.uniform(*LOOKS_S)):
            for card, seen in self._seen.items():
                if found := _position(card):
                    seen.append(found)


def _position(card):
    """Return when the card's run began, an instant in ns, and the frames played by then."""
    before_ns = time.monotonic_ns()
    try:
        text = Path(f"/proc/asound/{card}/pcm0p/sub0/status").read_text()
    except OSError:
        return None
    after_ns = time.monotonic_ns()
    found = _POSITION.search(text)
    if found is None or after_ns - before_ns > MAX_ASKING_NS:
        return None
    began_s, began_ns, frames = map(int, found.groups())
    return began_s * 10**9 + began_ns, (before_ns + after_ns) // 2, frames


@dataclass
class Start:
    """What one recording shows.

    Attributes
    ----------
    late_ms
        Of each track, by window: the second in the session, and how late it stands.
    stated_ms
        Of each track, by the end of each chunk: the second, and its `residual_us`.
    """

    late_ms: dict = field(default_factory=dict)
    stated_ms: dict = field(default_factory=dict)
    gaps: list = field(default_factory=list)
    drift_ppm: dict = field(default_factory=dict)

    def apart_ms(self, start_s, stop_s=math.inf):
        """Return how far the tracks are apart at most, in a part of the session."""
        user, bot = (dict(self.late_ms[track]) for track in TRACKS)
        both = [at for at in user.keys() & bot.keys() if start_s <= at < stop_s]
        return max((abs(user[at] - bot[at]) for at in both), default=math.nan)

    def most_stated_ms(self, start_s):
        """Return the greatest error that a track states from a second on."""
        told = (ms for track in TRACKS for end, ms in self.stated_ms[track] if end > start_s)
        return max(told, default=math.nan)

    def outside(self):
        """Return how many chunks end with a track further off than it states."""
        return sum(
            any(abs(ms) > stated for at, ms in self.late_ms[track] if end - 0.5 <= at < end)
            for track in TRACKS
            for end, stated in self.stated_ms[track]
        )


class Rig:
    """Both cards at play, each at a rate of its own."""

    def __init__(self, shifts):
        self._rates_hz = {t: RATE_HZ * NO_SHIFT / shifts.get(t, NO_SHIFT) for t in TRACKS}
        for track, card in TRACKS.items():
            _shift(card, shifts.get(track, NO_SHIFT))
        self._players = {track: Player(card) for track, card in TRACKS.items()}
        self._positions = Positions()

    def close(self):
        self._positions.close()
        for player in self._players.values():
            player.close()
            check(not player.underruns, f"a player was late {player.underruns} times")

    def record(self, folder, seconds):
        """Record both cards for so long; return what it shows."""
        wait_for(lambda: all(player.runs_ns for player in self._players.values()), "the players")
        root = folder / "root"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        config = folder / "edgerec.yaml"
        config.write_text(json.dumps(_settings(folder, root)))  # JSON is YAML
        with (folder / "log").open("w") as log:
            recorder = subprocess.Popen(["edgerec", "run", "--config", str(config)], stderr=log)
            try:
                wait_for(lambda: list(root.glob("ready/**/*_chunk.json")), "the first chunk")
                time.sleep(seconds - CHUNK_S)
                recorder.send_signal(signal.SIGTERM)
                recorder.wait(PATIENCE_S)
            finally:
                recorder.kill()
        return _read(root, self._players, self._positions, self._rates_hz)


def _with_cards(shifts, use):
    rig = Rig(shifts)
    try:
        return use(rig)
    finally:
        rig.close()


def _settings(folder, root):
    return {
        "kiosk_id": "placing",
        "recording": {"chunk_seconds": CHUNK_S},
        "tracks": {t: {"device": f"alsa:{card},1", "channels": 2} for t, card in TRACKS.items()},
        "storage": {"root": str(root), "utc_wait_s": 0},
        "control": {"socket": str(folder / "control.sock")},
    }


def _read(root, players, positions, rates_hz):
    start = Start({t: [] for t in TRACKS}, {t: [] for t in TRACKS})
    began_ns = {
        track: positions.began_ns(card, players[track].runs_ns[-1], rates_hz[track])
        for track, card in TRACKS.items()
    }
    windows = {track: {} for track in TRACKS}
    epoch_ns = None
    for path in sorted(root.glob("ready/**/*_chunk.json")):
        chunk = json.loads(path.read_text())
        rate = chunk["format"]["sample_rate"]
        epoch_ns = epoch_ns or chunk["monotonic_ns"]
        begin_s = (chunk["monotonic_ns"] - epoch_ns) / 1e9
        with wave.open(str(path.with_suffix(".wav"))) as file:
            samples = array("h", file.readframes(file.getnframes()))
        for index, track in enumerate(TRACKS):
            told = chunk["tracks"][track]
            start.gaps += [(track, g["reason"], g["frames"] / rate) for g in told["gaps"]]
            start.drift_ppm[track] = told["drift_ppm"]
            if told["residual_us"] is not None:
                end_s = begin_s + chunk["frames"] / rate
                start.stated_ms[track].append((end_s, told["residual_us"] / 1e3))
            for frame, phase_s in played(samples[index :: len(TRACKS)], rate):
                at_ns = chunk["monotonic_ns"] + frame * 1_000_000_000 / rate
                true_s = phase_s * RATE_HZ / rates_hz[track]
                period_s = PERIOD_S * RATE_HZ / rates_hz[track]
                late_s = (at_ns - began_ns[track]) / 1e9 - true_s
                late_s = (late_s + period_s / 2) % period_s - period_s / 2
                at_s = (at_ns - epoch_ns) / 1e9
                windows[track].setdefault(math.floor(at_s / WINDOW_S), []).append(late_s * 1e3)
    for track, found in windows.items():
        start.late_ms[track] = [
            (number * WINDOW_S, statistics.median(late)) for number, late in sorted(found.items())
        ]
    return start


def _shift(card, value):
    """Have a card run faster or slower; see `NO_SHIFT`."""
    name = "iface=PCM,name='PCM Rate Shift 100000',device=1"
    subprocess.run(["amixer", "-q", "-c", card, "cset", name, str(value)], check=True)

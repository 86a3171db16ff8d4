"""A signal of which every sample says when it was played, and what plays it into a card.

The signal rises from `LOW` to `HIGH` in `PERIOD_S`, and again. With the instant at which the card
began to play it, which the kernel tells, each recorded sample has a true time.
"""

import contextlib
import itertools
import re
import subprocess
import threading
from array import array
from bisect import bisect_right
from pathlib import Path

RATE_HZ = 48_000
PERIOD_S = 8  # longer than anything is misplaced by: half of it, either way, is told
LOW, HIGH = 2_000, 32_000  # not 0, which is silence
CLIMB_PER_S = (HIGH - LOW) / PERIOD_S
STEP_S = 0.01  # a resampler rings for less at an edge
MARGIN = CLIMB_PER_S * 0.05  # around the ramp's own edge
EXACT = 4  # of a climb over STEP_S, 37.5: either end is rounded twice
AHEAD_US = 8_000_000  # the card holds 10 s of it: more than an emulated processor is ever late
RETRY_S = 0.05


def ramp():
    """Return one period, in two channels."""
    frames = RATE_HZ * PERIOD_S
    both = ((round(LOW + (HIGH - LOW) * n / frames),) * 2 for n in range(frames))
    return array("h", itertools.chain.from_iterable(both)).tobytes()


def played(samples, rate_hz):
    """Yield those frames of a recording that are clearly the ramp's, and their second in it."""
    step = round(STEP_S * rate_hz)
    climb = CLIMB_PER_S * STEP_S
    for frame in range(0, len(samples) - step, step):
        value = samples[frame]
        if (
            LOW + MARGIN < value < HIGH - MARGIN
            and abs(samples[frame + step] - value - climb) <= EXACT
        ):
            yield frame, (value - LOW) / CLIMB_PER_S


def misplaced_s(instant_ns, phase_s, runs_ns):
    """Return how late a recorded sample stands on the timeline.

    Parameters
    ----------
    instant_ns
        Its place on the timeline.
    phase_s
        What it says itself; see `played`.
    runs_ns
        When the card began to play, each time.
    """
    run_ns = runs_ns[bisect_right(runs_ns, instant_ns) - 1]
    late_s = (instant_ns - run_ns) / 1e9 - phase_s
    return (late_s + PERIOD_S / 2) % PERIOD_S - PERIOD_S / 2


class Player:
    """Plays the ramp into a card until it is closed, from the start whenever the card has come.

    Attributes
    ----------
    runs_ns
        When it began to play, each time, on CLOCK_MONOTONIC.
    underruns
        How often it was itself too late, so that nothing is known of what follows.
    """

    def __init__(self, card):
        self.runs_ns = []
        self.underruns = 0
        self._card = card
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._play, name=f"player of {card}")
        self._thread.start()

    def close(self):
        self._closing.set()
        self._thread.join()

    def _play(self):
        period = ramp()
        part = len(period) // (10 * PERIOD_S)
        parts = [period[at : at + part] for at in range(0, len(period), part)]
        # The card may be away, or held for a moment: PortAudio looks at every card when it starts.
        while not self._closing.wait(RETRY_S):
            with contextlib.suppress(BrokenPipeError):
                self._play_once(parts)

    def _play_once(self, parts):
        command = ["aplay", "-q", "-D", f"plughw:{self._card},0", "-B", str(AHEAD_US)]
        command += ["-t", "raw", "-f", "S16_LE", "-c", "2", "-r", str(RATE_HZ)]
        began_ns = None
        with subprocess.Popen(
            command, bufsize=0, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as player:
            try:
                for part in itertools.cycle(parts):
                    if self._closing.is_set():
                        return
                    player.stdin.write(part)
                    now_ns = self._began_ns()
                    if began_ns is None and now_ns is not None:
                        self.runs_ns.append(now_ns)
                        began_ns = now_ns
                    elif now_ns not in (None, began_ns):
                        self.underruns += 1
                        return
            finally:
                player.kill()

    def _began_ns(self):
        """Return since when the card plays; None while it does not."""
        try:
            status = Path(f"/proc/asound/{self._card}/pcm0p/sub0/status").read_text()
        except OSError:
            return None
        began = re.search(r"^state: RUNNING$.*^trigger_time: (\d+)\.(\d{9})$", status, re.M | re.S)
        return int(began[1]) * 1_000_000_000 + int(began[2]) if began else None

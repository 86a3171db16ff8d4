"""Sound that tells the true time, and what a recorded track says by it.

The sound is noise as a function of true time (CLOCK_MONOTONIC_RAW): a piece of a recording, looked
for in that noise, says when it was sampled, to a third of a frame, whatever edgerec makes of it.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from tests.rigs.alignment import find, noise

RATE = 16_000
DEVICE_RATE = 48_000
FINER = DEVICE_RATE // RATE
PERIOD_S = 64  # of the noise: longer than a test records
SOUGHT_S = 1  # by so much a track may jump within a stretch, and be followed
WINDOW = RATE // 20
FOLLOWED = 0.97  # less alike where the window before it says it is, it is looked for
MOMENT_S = 1.5


class Sound:
    """Noise by true time, in a band of its own: two sounds are told apart in milliseconds."""

    def __init__(self, seed, band_hz):
        self.band_hz = band_hz
        self.heard = noise(PERIOD_S * RATE, RATE, seed, band_hz)

    @cache  # noqa: B019, there are a few of them
    def played(self, rate):
        """Return one period of it as a device of that rate hears it."""
        frames = PERIOD_S * rate
        spectrum = np.zeros(frames // 2 + 1, dtype=complex)
        spectrum[: len(self.heard) // 2 + 1] = np.fft.rfft(self.heard)
        samples = np.fft.irfft(spectrum, frames) * (frames / len(self.heard))
        return np.rint(samples * 32_767).astype("<i2")

    def piece(self, start_ns, stop_ns, rate):
        """Return what there is between two instants to a device of a rate."""
        frames = range(start_ns * rate // 1_000_000_000, stop_ns * rate // 1_000_000_000)
        return np.take(self.played(rate), frames, mode="wrap").tobytes()


@dataclass(frozen=True, eq=False)
class Stretch:
    """Sound between two holes.

    Attributes
    ----------
    late_s
        True time less the timeline's, of each window but for whole periods of the sound.
    likeness
        Correlation of each window with what was played then; of a moment there is none.
    """

    start: int
    stop: int
    samples: np.ndarray
    sound: Sound
    late_s: np.ndarray
    likeness: np.ndarray

    @property
    def began_s(self):
        """When its first frame was sampled, by true time within a period."""
        return self.start / RATE + self.late_s[0]

    @property
    def ended_s(self):
        return self.stop / RATE + self.late_s[-1]


class Track:
    """A recorded track: its samples, and start, stop and reason of its gaps.

    `began_ns` is when its first frame was recorded, a second late at most.
    """

    def __init__(self, samples, gaps, began_ns):
        self.samples = samples
        self.gaps = list(gaps)
        self._began_ns = began_ns

    def instant_ns(self, frame):
        """Return when a frame was recorded, a second late at most."""
        return self._began_ns + frame * 1_000_000_000 // RATE

    def distance_ns(self, instant_ns, outage):
        """Return how far an outage's beginning is from an instant."""
        return abs(self.instant_ns(outage[0]) - instant_ns)

    def outages(self):
        """Return start and stop of what is missing; what is close together is one.

        A stream that is pinned late is heard for a moment before the rest of its beginning is
        dropped.
        """
        outages = []
        for start, stop, _ in self.gaps:
            if outages and start - outages[-1][1] < MOMENT_S * RATE:
                start, _ = outages.pop()
            outages.append((start, stop))
        return outages

    def stretches(self, sound_at):
        """Return what is between the gaps; `sound_at` says of which sound, by its first instant."""
        edges = [0, *(edge for start, stop, _ in self.gaps for edge in (start, stop))]
        edges.append(len(self.samples))
        between = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a]
        return [
            stretch_of(self.samples[start:stop], start, sound_at(self.instant_ns(start)))
            for start, stop in between
        ]


def stretch_of(samples, start, sound):
    """Look for a sound in samples, of which the first is a track's frame `start`."""
    heard, around = sound.heard, SOUGHT_S * RATE
    begins = find(samples[: 4 * WINDOW], np.concatenate((heard, heard[: 4 * WINDOW])))
    late_s, likeness = [], []
    expected = begins
    for frame in range(0, len(samples) - WINDOW, WINDOW):
        window = samples[frame : frame + WINDOW]
        alike, there = _match(window, expected, sound)
        if alike < FOLLOWED:  # it has jumped
            first = begins + frame - around
            nearby = np.take(heard, range(first, first + WINDOW + 2 * around), mode="wrap")
            sought = _match(window, first + find(window, nearby), sound)
            alike, there = max(sought, (alike, there))
        likeness.append(alike)
        late_s.append(there / DEVICE_RATE - (start + frame) / RATE)
        expected = round(there / FINER) + WINDOW
    late_s = (np.array(late_s) + PERIOD_S / 2) % PERIOD_S - PERIOD_S / 2
    return Stretch(start, start + len(samples), samples, sound, late_s, np.array(likeness))


def _match(window, frame, sound):
    """Return how alike a window is to what was heard around a frame, and at which of the device."""
    if window.std() == 0:
        return 0.0, FINER * frame  # silence is like nothing
    played = sound.played(DEVICE_RATE)
    firsts = range(FINER * frame - FINER, FINER * frame + FINER + 1)
    pieces = [
        np.take(played, range(first, first + FINER * len(window), FINER), mode="wrap")
        for first in firsts
    ]
    return max(
        (np.corrcoef(piece, window)[0, 1], first)
        for piece, first in zip(pieces, firsts, strict=True)
    )


def loudness(samples, band_hz):
    """Return how loud a band is at most, in any hundredth of a second."""
    frames = RATE // 100
    samples = np.pad(samples, (0, max(frames - len(samples), 0)))
    starts = [*range(0, len(samples) - frames, frames // 2), len(samples) - frames]
    windows = np.stack([samples[start : start + frames] for start in starts])
    hz = np.fft.rfftfreq(frames, 1 / RATE)
    spectra = abs(np.fft.rfft(windows * np.hanning(frames)))
    return spectra[:, (hz >= band_hz[0]) & (hz <= band_hz[1])].max(axis=1).max()

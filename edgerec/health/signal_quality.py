"""Detects faults that look like audio: muted, stuck, clipped or identical tracks.

Frames keep coming from a muted microphone, a stuck driver, an overdriven input and a loopback that
is really the microphone. Each shows only over time, so each condition must last before it becomes a
warning, and be over for a while before the warning goes. Time is the timeline's own.

Whether a signal repeats itself, or is the other track's, is its (cross-)correlation, computed by
FFT over a second now and then, below 1 kHz. All of it takes 1 CPU second an hour.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import TRACKS, Span, TrackName, TrackReport
from edgerec.health.status import Reason
from edgerec.store.records.gap_map import AUDIO

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


CORRELATE_EVERY: Final = 15  # windows of a second
POOLED_RATE_HZ: Final = 8_000  # of what is correlated, about: samples are averaged down to it
BAND_HZ: Final = 1_000.0  # of what is correlated: so that half a sample of lag hides nothing
FINER: Final = 2  # lags between two samples that are looked at
TONE_BINS: Final = 20  # 10 Hz either way of the strongest: one tone, and what leaks beside it
TONE_SHARE: Final = 0.98  # of the energy; a tone is always like itself, and proves nothing
CLIP_LEVEL: Final = 32_700  # resampling rounds flat tops off a little
CLIPPED_SHARE: Final = 0.001  # of the samples of a second; a door that slams has fewer
LOUD: Final = 330  # peak, -40 dBFS: somebody speaks, or a loudspeaker plays
AUDIBLE_RMS: Final = 30.0  # -61 dBFS: below, two tracks may be alike because nothing is on either
FLAT: Final = 4  # peak to peak: what resampling leaves of a constant
REPEATS: Final = 0.998  # correlation: what differs is 27 dB lower, and a live input's noise is not
REPEAT_LAGS_S: Final = (0.008, 0.5)  # a stuck buffer's length; below, a voice's own pitch
ALIKE: Final = 0.98  # correlation: a room and a loudspeaker leave 0.9 of a copy at best
ALIKE_LAG_S: Final = 0.2  # how far the two may be apart
CANCELLED_DB: Final = -9.0
"""Gain of a fold below which channels cancel: an eighth of the power of unrelated ones."""
QUIET_ROOM_SHARE: Final = 0.01
"""Weight of a second without a loopback signal while the microphone hears nothing either."""


class SignalQuality:
    """Listens to a session, second by second; for one thread at a time.

    Parameters
    ----------
    continuous
        The tracks whose source delivers all the time; silence of the others is not a fault.
    """

    def __init__(self, continuous: Collection[TrackName]) -> None:
        self._continuous = frozenset(continuous)
        self._conditions = _new_conditions()
        self._windows = 0

    def expect(self, continuous: Collection[TrackName]) -> None:
        """Continue with other sources."""
        self._continuous = frozenset(continuous)

    @property
    def warnings(self) -> tuple[Reason, ...]:
        """Warnings that hold now."""
        return tuple(c.reason for c in self._conditions.values() if c.raised)

    def listen(
        self, span: Span, rate: int, reports: Mapping[TrackName, TrackReport] | None = None
    ) -> None:
        """Take in a second of the timeline, and the current reports on the tracks."""
        if span.start == 0:
            self._conditions = _new_conditions()
        seconds = span.frames / rate
        heard = [_whole(span, track) for track in range(len(TRACKS))]
        for name, samples in zip(TRACKS, heard, strict=True):
            if samples is not None:
                self._note_levels(name, samples, seconds, heard[0])
        for name, report in (reports or {}).items():
            if report.fold_gain_db is not None:
                cancels = report.fold_gain_db <= CANCELLED_DB
                self._conditions["cancels", name].note(bad=cancels, seconds=seconds)
        self._windows += 1
        if self._windows % CORRELATE_EVERY == 0:
            self._correlate(heard, rate, seconds * CORRELATE_EVERY)

    def _note_levels(
        self,
        name: TrackName,
        samples: NDArray[np.int16],
        seconds: float,
        user: NDArray[np.int16] | None,
    ) -> None:
        low, high = int(samples.min()), int(samples.max())
        if name in self._continuous:
            room_is_loud = name == "user" or (user is not None and _peak(user) >= LOUD)
            self._conditions["silent", name].note(
                bad=low == high == 0,
                seconds=seconds,
                counts=1.0 if room_is_loud else QUIET_ROOM_SHARE,
            )
        clipped = 0
        if max(high, -low) >= CLIP_LEVEL:
            clipped = int(np.count_nonzero(np.abs(samples.astype(np.int32)) >= CLIP_LEVEL))
        self._conditions["clipped", name].note(
            bad=clipped > CLIPPED_SHARE * len(samples), seconds=seconds
        )

    def _correlate(self, heard: list[NDArray[np.int16] | None], rate: int, seconds: float) -> None:
        spectra = [None if samples is None else Spectrum.of(samples, rate) for samples in heard]
        for name, samples, spectrum in zip(TRACKS, heard, spectra, strict=True):
            if samples is not None and spectrum is not None:
                bad = _is_flat(samples) or _repeats(spectrum)
                self._conditions["stuck", name].note(bad=bad, seconds=seconds)
        user, bot = spectra
        if user is not None and bot is not None and user.tells and bot.tells:
            alike = correlation(user, bot) >= ALIKE
            self._conditions["identical", "bot"].note(bad=alike, seconds=seconds)


@dataclass(frozen=True, slots=True)
class Spectrum:
    """A second of one track, without its mean and its treble."""

    bins: NDArray[np.complex128]
    """Spectrum zero-padded to twice the length, so that the correlation does not wrap around."""
    energies: NDArray[np.float64]
    """Cumulative energy before each sample, so that a part's energy is a difference."""
    rate: float

    @classmethod
    def of(cls, samples: NDArray[np.int16], rate: int) -> Spectrum:
        """Return the spectrum of a stretch of one track (int16, shape (frames,))."""
        pool = max(1, rate // POOLED_RATE_HZ)
        frames = len(samples) // pool
        pooled = samples[: frames * pool].reshape(frames, pool).mean(axis=1)
        bins = np.fft.rfft(pooled - pooled.mean())
        bins[round(BAND_HZ * frames * pool / rate) :] = 0
        band = np.fft.irfft(bins, frames)
        energies = np.concatenate(([0.0], np.cumsum(band**2)))
        return cls(np.fft.rfft(band, 2 * frames), energies, rate / pool)

    @property
    def frames(self) -> int:
        """Number of samples after averaging."""
        return len(self.energies) - 1

    @property
    def tells(self) -> bool:
        """Whether it is loud enough, and more than one tone, so that likeness means something."""
        power = np.abs(self.bins) ** 2
        top = int(power.argmax())
        tone = power[max(0, top - TONE_BINS) : top + TONE_BINS + 1].sum()
        loud = np.sqrt(self.energies[-1] / self.frames) >= AUDIBLE_RMS
        return bool(loud and tone < TONE_SHARE * power.sum())


def correlation(one: Spectrum, other: Spectrum) -> float:
    """Return how alike two signals are where they fit best, either sign; 1: the same."""
    product = _correlated(one, other)
    lags = np.arange(round(ALIKE_LAG_S * one.rate * FINER))
    return max(
        _summit(np.abs(product[lags]) / _norms(one, other, lags)),
        _summit(np.abs(product[-lags]) / _norms(other, one, lags)),
    )


def _repeats(spectrum: Spectrum) -> bool:
    """Whether a signal is itself again after the same time, over and over."""
    if not spectrum.tells:
        return False
    lags = np.arange(*(round(lag_s * spectrum.rate * FINER) for lag_s in REPEAT_LAGS_S))
    product = _correlated(spectrum, spectrum)
    return _summit(product[lags] / _norms(spectrum, spectrum, lags)) >= REPEATS


def _correlated(one: Spectrum, other: Spectrum) -> NDArray[np.float64]:
    """Return their correlation at steps of a part of a sample: lag 0 first, negative lags last."""
    product = one.bins * other.bins.conj()
    return np.fft.irfft(product, 2 * one.frames * FINER) * FINER


def _norms(late: Spectrum, early: Spectrum, lags: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return, for each lag, what the correlation would be of parts that overlap and are alike."""
    shift = lags // FINER
    late_energy = late.energies[-1] - late.energies[shift]
    norms: NDArray[np.float64] = np.sqrt(late_energy * early.energies[early.frames - shift])
    return norms + 1e-9  # of silence too, it is not 0


def _summit(values: NDArray[np.float64]) -> float:
    """Return the highest value of a sampled curve, by a parabola through three points."""
    top = int(values.argmax())
    if not 0 < top < len(values) - 1:
        return float(values[top])
    before, here, behind = (float(value) for value in values[top - 1 : top + 2])
    bend = before - 2 * here + behind
    return here - (before - behind) ** 2 / (8 * bend) if bend else here


def _is_flat(samples: NDArray[np.int16]) -> bool:
    low, high = int(samples.min()), int(samples.max())
    return high - low <= FLAT and (low > FLAT or high < -FLAT)


def _peak(samples: NDArray[np.int16]) -> int:
    return max(int(samples.max()), -int(samples.min()))


def _whole(span: Span, track: int) -> NDArray[np.int16] | None:
    """Return a track's samples; None where some of them are a gap, which says nothing."""
    return span.pcm[track] if not (span.reasons[track] != AUDIO).any() else None


def _new_conditions() -> dict[tuple[str, TrackName], Condition]:
    return {
        (code, track): Condition(code, track, tracks[track])
        for code, tracks in PATIENCE.items()
        for track in TRACKS
        if track in tracks
    }

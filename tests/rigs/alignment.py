"""Band-limited noise to play, and how alike and how far apart two recordings of it are."""

from dataclasses import dataclass

import numpy as np

SEARCH_FRAMES = 64  # how far two windows that belong together may be apart
MARGIN_FRAMES = 128  # a shift by a fraction of a frame rings at both ends of a window


def noise(frames, rate, seed, band_hz=(300, 6000), peak=0.5):
    """Noise of one band, as float64; another seed gives noise that has nothing to do with it."""
    spectrum = np.zeros(frames // 2 + 1, dtype=complex)
    hz = np.fft.rfftfreq(frames, 1 / rate)
    inside = (hz >= band_hz[0]) & (hz <= band_hz[1])
    spectrum[inside] = np.exp(2j * np.pi * np.random.default_rng(seed).random(inside.sum()))
    samples = np.fft.irfft(spectrum, frames)
    return samples * peak / abs(samples).max()


@dataclass(frozen=True)
class Match:
    """Where a window of a reference lies in a recording."""

    shift: float
    """In frames, with their fraction."""
    correlation: float


def find(reference, recording):
    """Return the frame of `recording` at which `reference`, which is shorter, best begins."""
    size = 1 << (len(reference) + len(recording)).bit_length()
    product = np.fft.rfft(recording, size) * np.conj(np.fft.rfft(reference, size))
    return int(np.argmax(np.fft.irfft(product, size)[: len(recording) - len(reference) + 1]))


def match(reference, recording):
    """Align two windows of equal length by the phase of their spectra, and correlate them."""
    frames = len(reference)
    spectrum = np.fft.rfft(recording)
    product = spectrum * np.conj(np.fft.rfft(reference))
    turns = np.fft.rfftfreq(frames)

    def correlation_at(shifts):
        return np.real(np.exp(2j * np.pi * np.outer(shifts, turns)) @ product)

    shift, step = 0.0, 1.0
    shifts = np.arange(-SEARCH_FRAMES, SEARCH_FRAMES + 1.0)
    while step > 1e-4:  # of a frame: at 16 kHz 6 ns
        shift = shifts[np.argmax(correlation_at(shifts))]
        shifts = shift + np.linspace(-step, step, 21)
        step /= 10
    moved = np.fft.irfft(spectrum * np.exp(2j * np.pi * shift * turns), frames)
    inside = slice(MARGIN_FRAMES, frames - MARGIN_FRAMES)
    return Match(float(shift), float(np.corrcoef(reference[inside], moved[inside])[0, 1]))


def matches(reference, recording, window_frames):
    """Match window by window; both begin at the same instant but for a few frames."""
    stop = min(len(reference), len(recording)) - window_frames
    return [
        match(reference[start : start + window_frames], recording[start : start + window_frames])
        for start in range(0, stop + 1, window_frames)
    ]

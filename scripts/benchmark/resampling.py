"""Measures cost and quality of resampling a device whose rate is 48 kHz + 87 ppm.

Ten minutes of 1 kHz at -1 dBFS in blocks of 100 ms, corrected every 10 s by 1 ppm: with soxr's
variable rate, with edgerec's chain of fixed-rate lines, and by slips (a frame dropped or doubled).
"""

import time
from collections.abc import Callable, Iterator

import numpy as np
import soxr

from edgerec.audio import DeviceFrame, TimelineFrame
from edgerec.sync.resampled_run import BATCH_S
from edgerec.sync.resampler import Line, Resampler

RATE, DEVICE_RATE = 16_000, 48_000
SECONDS, EVERY_S = 600, 10
BLOCK = DEVICE_RATE // 10
BATCH = round(BATCH_S * DEVICE_RATE)
TONE_HZ, LEVEL = 1_000.0, 29_000.0
PPM = 87.0


def device(block: int) -> Iterator[np.ndarray]:
    """Yield the tone as the device samples it, in blocks."""
    true_rate = DEVICE_RATE * (1 + PPM * 1e-6)
    for start in range(0, SECONDS * DEVICE_RATE, block):
        frames = np.arange(start, start + block)
        yield (LEVEL * np.sin(2 * np.pi * TONE_HZ * (frames / true_rate))).astype(np.float32)


def ratios() -> Iterator[float]:
    """Yield the ratio for each stretch of 10 s: right on average, 0.5 ppm off to either side."""
    while True:
        for ppm in (PPM + 0.5, PPM - 0.5):
            yield DEVICE_RATE / RATE * (1 + ppm * 1e-6)


def fixed() -> list[np.ndarray]:
    """Never correct anything: what everything else is measured against."""
    stream = soxr.ResampleStream(
        DEVICE_RATE * (1 + PPM * 1e-6), RATE, 1, dtype="float32", quality="HQ"
    )
    return [stream.resample_chunk(block) for block in device(BLOCK)]


def variable() -> list[np.ndarray]:
    """Let soxr change its ratio while it runs."""
    stream = soxr.ResampleStream(
        DEVICE_RATE * 1.001, RATE, 1, dtype="float32", quality="HQ", vr=True
    )
    planned, out = ratios(), []
    for number, block in enumerate(device(BLOCK)):
        if number % (EVERY_S * DEVICE_RATE // BLOCK) == 0:
            slew_frames = RATE // 10 if number else 0
            stream.set_io_ratio(next(planned) * RATE, RATE, slew_frames)
        out.append(stream.resample_chunk(block))
    return out


def lines() -> list[np.ndarray]:
    """Chain fixed-rate streams at lattice points, as `sync.resampler` does."""
    planned = ratios()
    line = Line(DeviceFrame(0), TimelineFrame(0), next(planned))
    resampler, out = Resampler(RATE, line), []
    joint = _joint(line)
    for batch in device(BATCH):
        if resampler.fed + len(batch) > joint.device and not resampler.bending:
            line = Line(joint.device, joint.timeline, next(planned))
            resampler.bend(line)
            joint = _joint(line)
        out.append(resampler.write(batch))
    return out


def _joint(line: Line) -> Line:
    """Return a lattice point on the line, about 10 s ahead, as the start of the next."""
    ahead = np.arange(EVERY_S * RATE - RATE, EVERY_S * RATE + RATE)
    exact = line.device + ahead * line.ratio
    best = int(np.argmin(np.abs(exact - np.rint(exact))))
    return Line(
        DeviceFrame(round(exact[best])), TimelineFrame(line.timeline + int(ahead[best])), line.ratio
    )


def slips() -> list[np.ndarray]:
    """Resample at the nominal ratio and drop a timeline frame whenever one too many is there."""
    stream = soxr.ResampleStream(DEVICE_RATE, RATE, 1, dtype="float32", quality="HQ")
    out, ahead = [], 0.0
    for block in device(BLOCK):
        samples = stream.resample_chunk(block)
        ahead += len(samples) * PPM * 1e-6
        if ahead >= 1 and len(samples) > 1:
            ahead -= 1
            middle = len(samples) // 2
            samples = np.concatenate((samples[:middle], samples[middle + 1 :]))
        out.append(samples)
    return out


def worst_snr_db(pcm: np.ndarray) -> tuple[float, float]:
    """Return the worst and the median SNR of pieces of 200 ms, more than 60 Hz from the tone."""
    frames = RATE // 5
    whole = len(pcm) // frames - 1
    pieces = pcm[frames : whole * frames].reshape(-1, frames) * np.blackman(frames)
    power = np.abs(np.fft.rfft(pieces)) ** 2
    near = np.abs(np.fft.rfftfreq(frames, 1 / RATE) - TONE_HZ) <= 60
    snr_db = 10 * np.log10(power[:, near].sum(axis=1) / power[:, ~near].sum(axis=1))
    return float(snr_db.min()), float(np.median(snr_db))


def main() -> None:
    """Measure each way and print a table."""
    started = time.process_time()
    for _ in device(BLOCK):
        pass
    signal_s = time.process_time() - started
    print("| way | CPU s per audio hour | SNR, worst 200 ms | SNR, median |\n|---|---|---|---|")
    ways: dict[str, Callable[[], list[np.ndarray]]] = {
        "fixed rate, never corrected": fixed,
        "soxr's variable rate": variable,
        "fixed-rate lines joined at lattice points": lines,
        "slips at the nominal ratio": slips,
    }
    for name, way in ways.items():
        started = time.process_time()
        out = way()
        cost_s = (time.process_time() - started - signal_s) * 3600 / SECONDS
        worst, median = worst_snr_db(np.concatenate(out))
        print(f"| {name} | {cost_s:.2f} | {worst:.0f} dB | {median:.0f} dB |")


if __name__ == "__main__":
    main()

"""How exact the timeline is, in simulated time, against the virtual kiosk's own truth.

Prints the table of `docs/synchronisation.md`; `test_accuracy.py` holds a sample to the bounds.

Every device hears the same sine, as a function of true time. Where the timeline is right, its
phase is right: each 100 ms of a recorded track tell by how much it is placed late.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgerec.audio import TRACKS, StreamHeader, TrackName
from edgerec.simulation.conversation import silence, tone
from edgerec.simulation.device import DeviceModel, Faults, Loss
from edgerec.simulation.kiosk import VirtualKiosk
from tests.rigs.virtual_kiosk import RATE, START_NS, steps

TONE_HZ = 200.0  # half a period, 2.5 ms, is the most that its phase tells
PIECE = RATE // 10
LATENCY_MS = 5.0  # constant, of both devices: what no timestamp can see
FIRST_S = 60.0

USER_PPM, BOT_PPM = 87.0, -43.0
BUSY = DeviceModel(
    latency_ms=LATENCY_MS,
    jitter_ms=1.0,
    wander_ppm=2.5,
    faults=Faults(spike_per_hour=300, spike_s=0.3),
)
"""A busy machine in a shop: lateness of 1 ms (exponential), a spike of up to 300 ms every 12 s,
and crystals that warm and cool by 5 ppm within half an hour."""


@dataclass
class Placement:
    """How far from their true place the tracks were, ten times a second."""

    late_us: dict[TrackName, NDArray[np.float64]]
    residual_us: dict[TrackName, NDArray[np.float64]]
    """What the sidecars would have stated at the same time."""
    drift_ppm: dict[TrackName, NDArray[np.float64]]

    @property
    def apart_us(self) -> NDArray[np.float64]:
        """By how much the tracks are apart."""
        return self.late_us["user"] - self.late_us["bot"]


@dataclass
class _Track:
    late_us: list[float] = field(default_factory=list)
    residual_us: list[float] = field(default_factory=list)
    drift_ppm: list[float] = field(default_factory=list)


def place(
    user: DeviceModel,
    bot: DeviceModel,
    seconds: float,
    drift_memory: MutableMapping[str, float] | None = None,
) -> Placement:
    """Record the sine and measure where it was placed."""
    tracks = {name: _Track() for name in TRACKS}
    rest = np.empty((len(TRACKS), 0), np.int16)
    start = 0
    world = tone(TONE_HZ, -1.0)
    for step in steps(user, bot, seconds, world=world, drift_memory=drift_memory):
        pcm = np.concatenate((rest, step.span.pcm), axis=1)
        whole = pcm.shape[1] // PIECE
        for nth in range(whole):
            for index, name in enumerate(TRACKS):
                samples = pcm[index, nth * PIECE : (nth + 1) * PIECE]
                late_us = _late_us(samples, start + nth * PIECE, step.epoch_ns)
                tracks[name].late_us.append(late_us)
                tracks[name].residual_us.append(step.reports[name].residual_us or np.nan)
                tracks[name].drift_ppm.append(step.reports[name].drift_ppm or np.nan)
        start += whole * PIECE
        rest = pcm[:, whole * PIECE :]
    full = [slice(0, -2)] * len(TRACKS)  # the last pieces hold the padding behind the end
    return Placement(
        *(
            {
                n: np.array(getattr(tracks[n], what))[cut]
                for n, cut in zip(TRACKS, full, strict=True)
            }
            for what in ("late_us", "residual_us", "drift_ppm")
        )
    )


def _late_us(samples: NDArray[np.int16], start: int, epoch_ns: int) -> float:
    """Return by how much the sine comes later than the latency says, from its phase."""
    frames = np.arange(start, start + PIECE)
    turns = ((epoch_ns - START_NS) * 1e-9 * TONE_HZ) % 1.0 + (frames * TONE_HZ / RATE) % 1.0
    beat = (samples * np.exp(-2j * np.pi * turns)).mean()  # of a sine: its phase, less a quarter
    turn = -np.angle(beat) / (2 * np.pi) - 0.25 - LATENCY_MS * 1e-3 * TONE_HZ
    return float((turn + 0.5) % 1.0 - 0.5) / TONE_HZ * 1e6


def devices(**changes: float) -> tuple[DeviceModel, DeviceModel]:
    """Return the two devices of a busy machine."""
    user = replace(BUSY, drift_ppm=USER_PPM, wander_period_s=1800.0)
    bot = replace(BUSY, drift_ppm=BOT_PPM, wander_period_s=1300.0)
    return replace(user, **changes), replace(bot, **changes)


@dataclass(frozen=True)
class Row:
    """One measure: what was asked, and what came out."""

    measure: str
    bound: str
    measured: str
    held: bool


def steady(hours: float) -> list[Row]:
    """Measure both tracks of a busy machine for hours."""
    placed = place(*devices(), hours * 3600)
    pieces = round(FIRST_S / 0.1)
    apart, first = np.abs(placed.apart_us[pieces:]), np.abs(placed.apart_us[:pieces])
    rms = float(np.sqrt((apart**2).mean()))
    drift = [placed.drift_ppm["user"][pieces] - true_drift_ppm("user")]
    drift.append(placed.drift_ppm["bot"][pieces] - true_drift_ppm("bot"))
    worst_drift = max(map(abs, drift))
    outside = sum(
        int((np.abs(placed.late_us[name]) > placed.residual_us[name]).sum()) for name in TRACKS
    )
    stated = float(np.median(np.concatenate([placed.residual_us[name] for name in TRACKS])))
    return [
        Row(
            f"tracks apart after 60 s, {hours:g} h",
            "rms 20 us, max 100 us",
            f"rms {rms:.1f} us, max {apart.max():.1f} us",
            bool(rms <= 20 and apart.max() <= 100),
        ),
        Row(
            "tracks apart in the first 60 s, first run",
            "max 1500 us",
            f"max {first.max():.0f} us",
            bool(first.max() <= 1500),
        ),
        Row(
            "drift reported after 60 s",
            "within 2 ppm",
            f"{worst_drift:.2f} ppm off",
            worst_drift <= 2,
        ),
        Row(
            "true error inside the stated residual_us",
            "always",
            f"{outside} of {2 * len(placed.apart_us)} outside; median stated {stated:.0f} us",
            outside == 0,
        ),
    ]


def true_drift_ppm(track: TrackName) -> float:
    """Return a device's true drift when 60 s have passed, its wander included."""
    user, bot = devices()
    model = user if track == "user" else bot
    step_s = 1.0
    passed = model.true_s(FIRST_S + step_s) - model.true_s(FIRST_S)
    return (step_s / passed - 1) * 1e6


def start_with_memory() -> Row:
    """Measure the first minute of devices whose drift an earlier run has left, 2 ppm off."""
    memory = dict(zip(_device_names(), (USER_PPM + 2, BOT_PPM - 2), strict=True))
    first = np.abs(place(*devices(), FIRST_S, memory).apart_us)
    return Row(
        "tracks apart in the first 60 s, drift remembered",
        "max 500 us",
        f"max {first.max():.0f} us",
        bool(first.max() <= 500),
    )


def _device_names() -> list[str]:
    kiosk = VirtualKiosk(*devices(), seed=1, world=silence)
    deliveries = (delivery for _, delivery in kiosk.deliveries(0.5))
    return [header.device for header in deliveries if isinstance(header, StreamHeader)]


def position(hours: float) -> list[Row]:
    """Measure the absolute place of fast and slow devices, when hours have passed."""
    rows = []
    for ppm in (200.0, -200.0):
        placed = place(*devices(drift_ppm=ppm), hours * 3600)
        last = max(float(np.abs(placed.late_us[name][-600:]).max()) for name in TRACKS)
        rows.append(
            Row(
                f"position against true time after {hours:g} h at {ppm:+g} ppm",
                "500 us",
                f"max {last:.0f} us in the last minute",
                last <= 500,
            )
        )
    return rows


def tone_snr() -> Row:
    """Measure 1 kHz at -1 dBFS through four minutes of corrections, in pieces of 200 ms.

    Noise is all that is more than 60 Hz away from the tone: quantisation, distortion, clicks. What
    is nearer is the tone itself, whose pitch follows the corrections by some millionths.
    """
    world = tone(1_000.0, -1.0)
    taken = [step.span.pcm for step in steps(*devices(), 300.0, world=world)]
    pcm = np.concatenate(taken, axis=1)[:, round(FIRST_S * RATE) : -RATE].astype(float)
    worst = min(_snr_db(track) for track in pcm)
    return Row(
        "tone SNR at 16 bits, the worst 200 ms of 4 minutes on a busy machine",
        "90 dB",
        f"{worst:.1f} dB",
        worst >= 90,
    )


def _snr_db(track: NDArray[np.float64]) -> float:
    """Return the worst piece's ratio of the tone to all that is not within 60 Hz of it."""
    frames = RATE // 5
    whole = len(track) // frames
    pieces = track[: whole * frames].reshape(whole, frames) * np.blackman(frames)
    power = np.abs(np.fft.rfft(pieces)) ** 2
    hz = np.fft.rfftfreq(frames, 1 / RATE)
    near = np.abs(hz - 1_000.0) <= 60.0
    return float(10 * np.log10((power[:, near].sum(axis=1) / power[:, ~near].sum(axis=1)).min()))


def losses(hours: float, *, counted: bool) -> Row:
    """Measure the gaps that stand for losses of 10 to 250 ms, one every half minute or so."""
    rng = np.random.default_rng(7)
    events, at_s = [], FIRST_S + 30
    while at_s < hours * 3600 - 30:
        length = round(float(rng.choice([10, 12, 15, 20, 30, 50, 100, 250])) * 48)
        events.append(Loss(at_s, length, counted=counted))
        at_s += rng.uniform(20, 60)
    user, bot = devices(jitter_ms=0.5)
    wrong_ms, lost, extra = [], 0, 0
    gaps = list(_gaps(replace(user, events=tuple(events)), bot, hours * 3600))
    for event in events:
        wanted = event.frames / 48_000 / (1 + USER_PPM * 1e-6)
        near = [gap for gap in gaps if abs(gap[0] - event.at_s) < 1.2]
        lost += not near
        extra += max(len(near) - 1, 0)
        wrong_ms += [abs(sum(gap[1] for gap in near) - wanted) * 1000] if near else []
    extra += len(gaps) - sum(
        any(abs(gap[0] - event.at_s) < 1.2 for event in events) for gap in gaps
    )
    p95, most = float(np.percentile(wrong_ms, 95)), max(wrong_ms)
    # A gap is whole frames of the timeline, the loss is whole frames of the device.
    frame_ms = 1000 / RATE + 1000 / 48_000
    bounds = (frame_ms, frame_ms) if counted else (0.3, 0.8)
    kind = "counted" if counted else "uncounted"
    return Row(
        f"{kind} losses of 10 to 250 ms ({len(events)}, jitter 0.5 ms)",
        "exact to the frame" if counted else "0.3 ms at the 95th percentile, 0.8 ms at most",
        f"{p95:.3f} ms at the 95th percentile, {most:.3f} ms at most; "
        f"{lost} not found, {extra} that were none",
        bool(p95 <= bounds[0] and most <= bounds[1] and lost == extra == 0),
    )


def _gaps(user: DeviceModel, bot: DeviceModel, seconds: float) -> Iterator[tuple[float, float]]:
    """Yield the user's gaps: (true second at which it began, length in seconds)."""
    start, began = 0, None
    for step in steps(user, bot, seconds, world=silence):
        codes = np.concatenate(([0 if began is None else 1], step.span.reasons[0] != 0))
        offset_s = (step.epoch_ns - START_NS) * 1e-9
        for edge in np.flatnonzero(np.diff(codes)).tolist():
            frame = start + edge
            if began is None:
                began = frame
            else:
                yield began / RATE + offset_s, (frame - began) / RATE
                began = None
        start += step.span.frames


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the campaign."""
    parser.add_argument("--hours", type=float, default=24.0, help="of the long rows")


def run(args: argparse.Namespace) -> int:
    """Measure everything and print it as a table."""
    print("| measure | bound | measured | held |\n|---|---|---|---|")
    all_held = True
    for row in measure(args.hours):
        all_held &= row.held
        held = "yes" if row.held else "NO"
        print(f"| {row.measure} | {row.bound} | {row.measured} | {held} |", flush=True)
    return 0 if all_held else 1


def measure(hours: float) -> Iterator[Row]:
    """Yield every row; `hours` is the length of the long ones."""
    yield from steady(hours)
    yield start_with_memory()
    yield from position(hours)
    yield tone_snr()
    yield losses(min(hours, 3.0), counted=True)
    yield losses(min(hours, 3.0), counted=False)

"""A virtual kiosk: what its two devices deliver, from one seed, with known truth.

`VirtualKiosk` drives tests and benchmarks in simulated time. Run as a program this module is the
capture child of `source: simulated`: one virtual device in real time, its block stream on the
standard output.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from edgerec.audio import TRACKS, Block, Delivery, StreamEnded, StreamHeader, TrackName
from edgerec.clock import SystemClock, boot_id, raw_now_ns
from edgerec.simulation.conversation import World, conversation
from edgerec.simulation.device import DeviceModel, Faults, Handover, VirtualDevice
from edgerec.wire.blocks import encode_block, encode_stream_header
from edgerec.wire.pipe import be_killed_first, die_with_parent, make_room


class VirtualKiosk:
    """Two virtual devices in one world.

    Every run of it is the same: the same arguments deliver the same bytes.

    Parameters
    ----------
    world
        What there is to hear; None: the conversation of this seed.
    start_ns
        The world's beginning on CLOCK_MONOTONIC_RAW.
    """

    def __init__(
        self,
        user: DeviceModel,
        bot: DeviceModel,
        *,
        seed: int,
        world: World | None = None,
        start_ns: int = 1_000_000_000,
    ) -> None:
        self._models: dict[TrackName, DeviceModel] = {"user": user, "bot": bot}
        self._seed = seed
        self._world = world or conversation(seed)
        self._start_ns = start_ns

    def device(self, track: TrackName) -> VirtualDevice:
        """Return one of the devices, not yet run."""
        return VirtualDevice(
            track, self._models[track], self._world(track), seed=self._seed, start_ns=self._start_ns
        )

    def handovers(self, seconds: float) -> Iterator[Handover]:
        """Deliver both devices' first `seconds` in order of arrival, with the truth beside them."""
        runs = (self.device(track).run(seconds) for track in TRACKS)
        return heapq.merge(*runs, key=lambda handover: handover.at_ns)

    def deliveries(self, seconds: float) -> Iterator[tuple[TrackName, Delivery]]:
        """Deliver both devices' first `seconds` in order of arrival, as a recorder gets them."""
        return ((handover.track, handover.delivery) for handover in self.handovers(seconds))


def simulate_command(
    track: TrackName,
    *,
    seed: int,
    start_ns: int,
    sample_rate: int = 48_000,
    channels: int = 1,
    block_ms: float = 100.0,
    drift_ppm: float = 0.0,
    jitter_ms: float = 0.0,
    loss_per_hour: float = 0.0,
    stall_per_hour: float = 0.0,
) -> list[str]:
    """Return the command that runs one virtual device as a capture child.

    Two children share a world when they are given the same `seed` and `start_ns`, the world's
    beginning on CLOCK_MONOTONIC_RAW. One that is started later comes in where the world is by then.
    """
    options = {
        "--track": track,
        "--seed": seed,
        "--start-ns": start_ns,
        "--sample-rate": sample_rate,
        "--channels": channels,
        "--block-ms": block_ms,
        "--drift-ppm": drift_ppm,
        "--jitter-ms": jitter_ms,
        "--loss-per-hour": loss_per_hour,
        "--stall-per-hour": stall_per_hour,
    }
    # One argument each: "--drift-ppm -30" would be an option of its own.
    arguments = [f"{option}={value}" for option, value in options.items()]
    return [sys.executable, "-m", "edgerec.simulation.kiosk", *arguments]


def stream(handovers: Iterable[Handover], output: BinaryIO) -> None:
    """Write what a device delivers, each block when its time has come on CLOCK_MONOTONIC_RAW.

    A full pipe makes it wait: unlike a real device it loses nothing by that, and continues with the
    blocks that have become due meanwhile, with the stamps they should have had.
    """
    for handover in handovers:
        while (early_ns := handover.at_ns - raw_now_ns()) > 0:
            time.sleep(early_ns / 1e9)
        match handover.delivery:
            case StreamHeader() as header:
                output.write(encode_stream_header(header))
            case Block() as block:
                output.write(encode_block(block))
                output.flush()
            case StreamEnded():
                pass  # the wire has no word for it: silence, and then a new header


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one virtual device until a signal or a closed pipe ends the process."""
    die_with_parent()
    be_killed_first()
    # Nothing here needs an orderly end: like SIGTERM, these end it where it stands, and quietly.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    args = _parser().parse_args(arguments)
    world = conversation(args.seed)
    now = SystemClock().read()
    device = VirtualDevice(
        args.track,
        _model(args, starts_s=max(0.0, (now.raw_ns - args.start_ns) / 1e9)),
        world(args.track),
        seed=args.seed,
        start_ns=args.start_ns,
        start_utc_ns=now.utc_ns - (now.raw_ns - args.start_ns),
        boot_id=boot_id(),
    )
    # As much room as a real device's: 64 KiB are full long before the reader looks again.
    make_room(sys.stdout.fileno())
    with contextlib.suppress(BrokenPipeError):  # where our parent has blocked SIGPIPE
        stream(device.run(), sys.stdout.buffer)
    os._exit(0)  # not through the interpreter's end, which would flush into the closed pipe


def _model(args: argparse.Namespace, *, starts_s: float) -> DeviceModel:
    return DeviceModel(
        sample_rate=args.sample_rate,
        channels=args.channels,
        block_ms=args.block_ms,
        drift_ppm=args.drift_ppm,
        jitter_ms=args.jitter_ms,
        starts_s=starts_s,
        faults=Faults(loss_per_hour=args.loss_per_hour, stall_per_hour=args.stall_per_hour),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edgerec.simulation.kiosk",
        description="One virtual device in real time: its block stream on the standard output.",
    )
    parser.add_argument("--track", choices=TRACKS, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument(
        "--start-ns",
        type=int,
        required=True,
        help="the world's beginning on CLOCK_MONOTONIC_RAW, the same for both tracks",
    )
    parser.add_argument("--sample-rate", type=int, default=48_000, metavar="HZ")
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--block-ms", type=float, default=100.0)
    parser.add_argument("--drift-ppm", type=float, default=0.0)
    parser.add_argument("--jitter-ms", type=float, default=0.0)
    parser.add_argument("--loss-per-hour", type=float, default=0.0)
    parser.add_argument("--stall-per-hour", type=float, default=0.0)
    return parser


if __name__ == "__main__":
    main()

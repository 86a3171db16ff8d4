"""Store what the capture children deliver, unchanged, to replay a field problem at a desk."""

from __future__ import annotations

import argparse
import select
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgerec.audio import Block, StreamEnded, StreamHeader, TrackName
from edgerec.capture.child import ChildSource
from edgerec.cli.options import add_config, add_json, parse_seconds
from edgerec.cli.output import ProgressLine, note, os_failure, print_json, say
from edgerec.cli.process import Exit, Interruption
from edgerec.clock import raw_now_ns
from edgerec.config import load_config
from edgerec.engine.plan import Plan
from edgerec.engine.sources import open_child
from edgerec.wire.trace import TraceWriter

HELP = """Record what the configured devices deliver, before anything is made of it, for `edgerec
replay`. Ends after N seconds, or with Ctrl-C; a device needs a second or two to start."""

TICK_MS: Final = 250  # sources must be polled this often
OPENING_NS: Final = 10 * 1_000_000_000
"""Time that devices may take to open before the time of the trace begins to count."""
MAX_FAULTS: Final = 20  # kept for the report, per track; each is printed as it comes


@dataclass(slots=True)
class TracedTrack:
    """One track, from its source into its file."""

    path: Path
    source: ChildSource
    writer: TraceWriter
    audio_s: float = field(default=0.0, init=False)
    """Length of what was written, in seconds, without losses."""
    faults: list[str] = field(default_factory=list, init=False)
    """The first few reasons for which the source fell silent."""
    _sample_rate: int = field(default=0, init=False)

    def take(self, now_ns: int) -> None:
        """Write what there is."""
        for delivery in self.source.deliver(now_ns):
            self.writer.write(delivery)
            match delivery:
                case StreamHeader():
                    self._sample_rate = delivery.sample_rate
                case Block():
                    self.audio_s += delivery.frames / self._sample_rate
                case StreamEnded():
                    note(f"{self.source.track}: {delivery.detail}")
                    if len(self.faults) < MAX_FAULTS:
                        self.faults.append(delivery.detail)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--user", metavar="FILE", type=Path, help="write the user track here")
    parser.add_argument("--bot", metavar="FILE", type=Path, help="write the bot track here")
    parser.add_argument(
        "--seconds",
        metavar="N",
        type=parse_seconds,
        help="how long, once the devices deliver (default: until Ctrl-C)",
    )
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Record traces until the time is over, or a signal comes."""
    config = load_config(args.config)
    named: dict[TrackName, Path | None] = {"user": args.user, "bot": args.bot}
    paths = {name: path for name, path in named.items() if path is not None}
    now_ns, plans = raw_now_ns(), Plan.of(config).sources
    sources = {n: open_child(n, plan, now_ns) for n, plan in plans.items() if not plan.is_feed}
    if not paths:
        note("edgerec trace: give --user FILE, --bot FILE, or both")
        return Exit.USAGE
    for name in paths.keys() - sources.keys():
        source = getattr(config.tracks, name).source
        note(f"edgerec trace: tracks.{name}.source is {source}: no device")
        return Exit.USAGE
    stop: list[int] = []
    Interruption().stops(stop.append)
    tracks: list[TracedTrack] = []
    try:
        with ExitStack() as opened:
            for name, path in paths.items():
                writer = opened.enter_context(TraceWriter(path))
                opened.callback(sources[name].close)
                tracks.append(TracedTrack(path, sources[name], writer))
            _record(tracks, args.seconds, stop)
    except OSError as error:
        note(f"edgerec trace: {os_failure('writing', error)}")
        return Exit.FAILED
    return _report(tracks, json=args.json)


def _record(tracks: Sequence[TracedTrack], seconds: float | None, stop: Sequence[int]) -> None:
    opening_ns = raw_now_ns() + OPENING_NS
    start_ns: int | None = None
    with ProgressLine("traced") as progress:
        while not stop:
            ready = select.poll()
            for track in tracks:
                pipe = track.source.fileno()
                if pipe is not None:
                    ready.register(pipe, select.POLLIN)
            ready.poll(TICK_MS)
            now_ns = raw_now_ns()
            for track in tracks:
                track.take(now_ns)
            if start_ns is None:
                if now_ns < opening_ns and not all(track.audio_s for track in tracks):
                    continue
                start_ns = now_ns
            elapsed_s = (now_ns - start_ns) / 1e9
            progress.seconds(elapsed_s)
            if seconds is not None and elapsed_s >= seconds:
                return


def _report(tracks: Sequence[TracedTrack], *, json: bool) -> int:
    if json:
        print_json(
            {
                track.source.track: {
                    "file": str(track.path),
                    "frames": track.writer.frames,
                    "seconds": round(track.audio_s, 3),
                    "faults": track.faults,
                }
                for track in tracks
            }
        )
    else:
        for track in tracks:
            say(f"{track.path}: {track.audio_s:.1f} s of {track.source.track}")
    silent = [track.source.track for track in tracks if not track.writer.frames]
    for name in silent:
        note(f"edgerec trace: {name} delivered nothing")
    return Exit.FAILED if silent else Exit.DONE

"""Record a virtual kiosk in real time through the same pipeline, with no hardware."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Final

from edgerec.cli.logs import log_to_stderr
from edgerec.cli.options import add_json, add_named_config, parse_seconds
from edgerec.cli.output import note, print_json, print_published, published_as_json, say
from edgerec.cli.process import Exit, Interruption
from edgerec.config import (
    Config,
    RecordingConfig,
    SimulateConfig,
    StorageConfig,
    TrackConfig,
    TracksConfig,
    load_config,
)
from edgerec.engine.build import Surroundings
from edgerec.engine.engine import Engine
from edgerec.store.disk import StoreError
from edgerec.store.publish import FilePublished

HELP = """The main job with no hardware: record a virtual kiosk, a user and a bot in conversation,
in real time and through the same pipeline as `edgerec run`, and list what was written."""

DEFAULT_SECONDS: Final = 20.0
DEFAULT_OUT: Final = Path("edgerec-demo")
CHUNK_SECONDS: Final = 5.0  # short enough to see chunks come while it runs
CRYSTALS: Final = {"user": 40.0, "bot": -25.0}  # ppm: what two real devices are apart


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--seconds",
        metavar="N",
        type=_seconds,
        default=DEFAULT_SECONDS,
        help=f"how long to record (default: {DEFAULT_SECONDS:g})",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=DEFAULT_OUT,
        help=f"storage root to record into; made if it is missing (default: {DEFAULT_OUT})",
    )
    add_named_config(parser, "whose `recording` and `turns` apply")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Record the virtual kiosk, and list what was written."""
    log_to_stderr()
    root: Path = args.out.absolute()
    config = demo_config(root)
    if args.config is not None:
        config = as_configured(load_config(args.config, records=False), config)
    published: list[FilePublished] = []

    def show(file: FilePublished) -> None:
        published.append(file)
        note(f"published {file.path.name}")

    interruption = Interruption()
    try:
        around = Surroundings(on_published=show)
        engine = Engine(config, length_s=args.seconds, around=around)
    except StoreError as error:
        note(error)
        return Exit.FAILED

    interruption.stops(lambda _signal: engine.stop())
    note(f"recording a virtual kiosk for {args.seconds:g} s into {root}")
    try:
        engine.wait()
    except StoreError as error:
        note(error)
        return Exit.FAILED
    if args.json:
        print_json({"root": str(root), "files": published_as_json(published)})
    else:
        print_published(published, root)
        say(f"check them with: edgerec verify {root}")
    return Exit.DONE


def demo_config(root: Path) -> Config:
    """Return the configuration of the virtual kiosk."""
    return Config(
        kiosk_id="demo",
        recording=RecordingConfig(chunk_seconds=CHUNK_SECONDS),
        tracks=TracksConfig(user=_simulated("user"), bot=_simulated("bot")),
        storage=StorageConfig(root=root, utc_wait_s=0),  # files should appear while one watches
    )


def as_configured(wanted: Config, demo: Config) -> Config:
    """Return the demo, recorded as somebody's own configuration says."""
    recording = replace(wanted.recording, auto_start=True)
    return replace(demo, recording=recording, turns=wanted.turns)


def _simulated(track: str) -> TrackConfig:
    simulate = SimulateConfig(seed=1, drift_ppm=CRYSTALS[track], jitter_ms=1.0)
    return TrackConfig(source="simulated", simulate=simulate)


def _seconds(text: str) -> float:
    length_s = parse_seconds(text)
    if not 0.1 <= length_s <= 86_400:
        raise argparse.ArgumentTypeError(f"{length_s:g} s: give 0.1 to 86400")
    return length_s

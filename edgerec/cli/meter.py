"""Show live levels of both tracks."""

from __future__ import annotations

import argparse
import contextlib
import json
import queue
import sys
from collections.abc import Mapping
from typing import Final

from edgerec.audio import TrackName
from edgerec.cli.options import add_config, add_json, add_socket, parse_seconds, socket_paths
from edgerec.cli.output import draw, escaped, note, say
from edgerec.cli.process import Exit, Interruption
from edgerec.cli.status_text import level
from edgerec.clock import raw_now_ns
from edgerec.health.status import TrackStatus
from edgerec.service.control.client import ServiceConnection, ServiceError

HELP = """Show the levels of both tracks as they are recorded, with the states of their devices and
whose turn it is, until Ctrl-C. Levels are of the last second: the bar is its loudness (rms), the |
its peak."""

REDRAW_S: Final = 0.2
LINE_S: Final = 1.0  # where the output is not a terminal
FLOOR_DB: Final = -60.0  # the left end of the bar: a quiet room
WIDTH: Final = 40
_UP: Final = "\x1b[{}A"
_WIPE: Final = "\x1b[K"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--seconds", metavar="N", type=parse_seconds, help="how long (default: until Ctrl-C)"
    )
    add_json(parser)
    add_socket(parser)
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the service again and again, and draw."""
    paths = socket_paths(args)
    # Not an Event: a signal handler that sets it while we are waiting for it locks up.
    stopped: queue.SimpleQueue[int] = queue.SimpleQueue()
    Interruption().stops(stopped.put)
    drawn = not args.json and sys.stdout.isatty()
    period_s = REDRAW_S if drawn else LINE_S
    until_ns = None if args.seconds is None else raw_now_ns() + round(args.seconds * 1e9)
    try:
        with ServiceConnection(paths) as service:
            first = True
            while True:
                if args.json:
                    say(json.dumps(service.request("status", {})["tracks"]), flush=True)
                else:
                    _show(service.status().tracks, drawn=drawn, first=first)
                first = False
                if until_ns is not None and raw_now_ns() >= until_ns:
                    break
                with contextlib.suppress(queue.Empty):
                    stopped.get(timeout=period_s)
                    break
    except ServiceError as error:
        note(f"edgerec meter: {error}")
        return Exit.FAILED
    return Exit.DONE


def _show(tracks: Mapping[TrackName, TrackStatus], *, drawn: bool, first: bool) -> None:
    rows = [f"{name:4} {bar(track)} {words(track)}" for name, track in tracks.items()]
    if drawn:
        up = "" if first else _UP.format(len(rows))
        draw(up + "".join(f"{escaped(row)}{_WIPE}\n" for row in rows), sys.stdout)
    else:
        say("  ".join(f"{name}: {words(track)}" for name, track in tracks.items()), flush=True)


def bar(track: TrackStatus) -> str:
    """Return a track's level as a bar of `WIDTH` characters, its peak as a mark in it."""
    filled = _place(track.rms_dbfs)
    cells = ["#" if nth < filled else "-" for nth in range(WIDTH)]
    peak = _place(track.peak_dbfs)
    if peak:
        cells[peak - 1] = "|"
    return "[" + "".join(cells) + "]"


def words(track: TrackStatus) -> str:
    """Return what there is to say of a track beside its bar."""
    if track.state == "off":
        return "off"
    told = [f"{level(track.peak_dbfs):>11}", track.state]
    if track.clipped:
        told.append("CLIPPED")
    if track.turn is not None:
        told.append(f"speaks (turn {track.turn})")
    return " ".join(told)


def _place(dbfs: float | None) -> int:
    """Return how much of the bar a level takes, 0 to `WIDTH`."""
    if dbfs is None:
        return 0
    return max(0, min(WIDTH, round((dbfs - FLOOR_DB) / -FLOOR_DB * WIDTH)))

"""List the turns of recorded sessions, and draw a session as a picture."""

from __future__ import annotations

import argparse
import errno
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgerec.cli.options import add_config, add_json, add_tree, tree_path
from edgerec.cli.output import os_failure, print_json
from edgerec.cli.process import Exit
from edgerec.cli.terminal import note, say
from edgerec.cli.turn_picture import COLUMNS, png, svg

if TYPE_CHECKING:
    from edgerec.store.records.sidecar_reader import DescribedFile

HELP: Final = """List the turns of recorded sessions in any tree of published files, and draw one
session: its waveforms and levels, turns (blue) and gaps (red)."""

_PICTURES: Final = (".svg", ".png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_tree(parser)
    parser.add_argument(
        "--plot", metavar="FILE", type=_picture, help="draw a session into FILE, .svg or .png"
    )
    parser.add_argument(
        "--session", metavar="ID", help="only this one (default: all; drawn is the last)"
    )
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """List the turns, and draw a session if that is asked for."""
    from edgerec.store.archive.tree import find_files, overview
    from edgerec.store.disk import StoreError

    top = tree_path(args)
    try:
        found = find_files(top)
        files = [file for file in found.files if args.session in (None, file.key.session)]
        turns = [file for file in files if file.turn is not None]
        shown = [_as_json(file) for file in turns] if args.json else None
    except StoreError as error:
        note(f"edgerec turns: {error}")
        return Exit.FAILED
    for problem in found.problems:
        note(problem)
    if shown is not None:
        print_json(shown)
    else:
        _print_table(turns, top)
    if args.plot is not None:
        if not files:
            note("edgerec turns: there is no session to draw")
            return Exit.FAILED
        last = files[-1].key.session
        try:
            session = overview([file for file in files if file.key.session == last], COLUMNS)
            drawn = svg(session).encode() if args.plot.suffix == ".svg" else png(session)
            _write(args.plot, drawn)
        except StoreError as error:
            note(f"edgerec turns: {error}")
            return Exit.FAILED
        except OSError as error:
            note(f"edgerec turns: {os_failure('writing', error)}")
            return Exit.FAILED
    return Exit.FAILED if found.problems else Exit.DONE


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix not in _PICTURES:
        raise argparse.ArgumentTypeError(f"{text!r}: name a file that ends in .svg or .png")
    return path


def _write(path: Path, drawn: bytes) -> None:
    if path.exists() and not path.is_file():  # opening a pipe would wait for its reader
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    path.write_bytes(drawn)


def _print_table(turns: list[DescribedFile], top: Path) -> None:
    session = None
    for file in turns:
        turn = file.turn
        assert turn is not None
        if file.key.session != session:
            session = file.key.session
            say(f"session {session}")
            say(f"  {'turn':>6} {'speaker':7} {'from':>10} {'speech':>8}  {'by':4}  file")
        number = f"{turn.number}.{turn.part}" if turn.part else str(turn.number)
        begins = turn.speech_start / file.sample_rate
        length = (turn.speech_end - turn.speech_start) / file.sample_rate
        told = "  interrupted" if turn.interrupted else ""
        say(
            f"  {number:>6} {turn.speaker:7} {begins:9.2f}s {length:7.2f}s  {turn.by:4}  "
            f"{file.path.relative_to(top)}{told}"
        )
    if not turns:
        say(f"no turns under {top}")


def _as_json(file: DescribedFile) -> dict[str, object]:
    from edgerec.store.disk import is_there

    turn = file.turn
    assert turn is not None
    rate = file.sample_rate
    return {
        "session": file.key.session,
        "speaker": turn.speaker,
        "number": turn.number,
        "part": turn.part,
        "by": turn.by,
        "interrupted": turn.interrupted,
        "start_frame": file.start,
        "frames": file.frames,
        "speech_start_frame": turn.speech_start,
        "speech_end_frame": turn.speech_end,
        "speech_start_s": round(turn.speech_start / rate, 3),
        "speech_s": round((turn.speech_end - turn.speech_start) / rate, 3),
        "file": str(file.path),
        "present": is_there(file.path),
    }

"""List the turns of recorded sessions, and draw a session as a picture.

SVG for people, with times and numbers; PNG, without text, where only pictures are shown
(decision 0020).
"""

from __future__ import annotations

import argparse
import errno
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgerec.audio import TRACKS
from edgerec.cli.options import add_config, add_json, add_tree, tree_path
from edgerec.cli.output import note, os_failure, print_json, say
from edgerec.cli.process import Exit

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgerec.store.archive.tree import Marked, Overview
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
            heads = f"{'turn':>6} {'exchange':>8} {'speaker':7} {'from':>10} {'speech':>8}"
            say(f"  {heads}  {'by':4}  file")
        number = f"{turn.number}.{turn.part}" if turn.part else str(turn.number)
        exchange = "-" if turn.exchange is None else turn.exchange
        begins = turn.speech_start / file.sample_rate
        length = (turn.speech_end - turn.speech_start) / file.sample_rate
        told = "  interrupted" if turn.interrupted else ""
        say(
            f"  {number:>6} {exchange:>8} {turn.speaker:7} {begins:9.2f}s {length:7.2f}s  "
            f"{turn.by:4}  {file.path.relative_to(top)}{told}"
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
        "exchange": turn.exchange,
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


COLUMNS: Final = 1600
LANE: Final = 160  # pixels of height for one track
GUTTER: Final = 40  # above each: turn numbers, time
_TICKS: Final = 10
_COLOURS: Final = {
    "paper": (255, 255, 255),
    "turn": (205, 227, 250),
    "gap": (247, 205, 205),
    "wave": (110, 120, 130),
    "level": (20, 40, 60),
}


def svg(session: Overview) -> str:
    """Return the picture as an SVG document."""
    height = len(TRACKS) * (LANE + GUTTER) + GUTTER
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{COLUMNS}" height="{height}" '
        f'viewBox="0 0 {COLUMNS} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{COLUMNS}" height="{height}" fill="{_hex("paper")}"/>',
    ]
    for index, track in enumerate(TRACKS):
        top = _top(index)
        drawn.append(f'<text x="4" y="{top - 22}" font-weight="bold">{track}</text>')
        for kind, marks in (("turn", session.turns), ("gap", session.gaps)):
            drawn += [_box(session, mark, kind, top) for mark in marks if mark.track == track]
        middle, half = top + LANE / 2, LANE / 2
        for kind, low, high in (
            ("wave", session.low[index], session.high[index]),
            ("level", -session.rms[index], session.rms[index]),
        ):
            points = [f"{x},{middle - half * y:.1f}" for x, y in enumerate(high)]
            points += [f"{x},{middle - half * low[x]:.1f}" for x in reversed(range(COLUMNS))]
            outline = " ".join(points)
            drawn.append(f'<polygon points="{outline}" fill="{_hex(kind)}" stroke="{_hex(kind)}"/>')
    drawn += [_tick(session, tick, height) for tick in range(_TICKS)]
    return "\n".join([*drawn, "</svg>", ""])


def png(session: Overview) -> bytes:
    """Return the picture as a PNG file (W3C, "PNG Specification", third edition)."""
    import numpy as np

    height = len(TRACKS) * (LANE + GUTTER) + GUTTER
    pixels = np.full((height, COLUMNS, 3), _COLOURS["paper"], np.uint8)
    for index, track in enumerate(TRACKS):
        lane = pixels[_top(index) : _top(index) + LANE]
        for kind, marks in (("turn", session.turns), ("gap", session.gaps)):
            for mark in (mark for mark in marks if mark.track == track):
                first, last = _columns(session, mark)
                lane[:, first:last] = _COLOURS[kind]
        rows = np.arange(LANE)[:, None]
        for kind, low, high in (
            ("wave", session.low[index], session.high[index]),
            ("level", -session.rms[index], session.rms[index]),
        ):
            within = (rows >= _row(high)) & (rows <= _row(low))
            lane[within] = _COLOURS[kind]
    return _encode(pixels)


def _row(amplitude: NDArray[np.float32]) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = (LANE / 2 * (1 - amplitude)).round()
    return rows


def _encode(pixels: NDArray[np.uint8]) -> bytes:
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _top(index: int) -> int:
    return GUTTER + index * (LANE + GUTTER)


def _columns(session: Overview, mark: Marked) -> tuple[int, int]:
    """Return the columns that a stretch covers, at least one."""
    first = mark.start * COLUMNS // session.frames
    return first, max(first + 1, mark.stop * COLUMNS // session.frames)


def _box(session: Overview, mark: Marked, kind: str, top: int) -> str:
    first, last = _columns(session, mark)
    box = (
        f'<rect x="{first}" y="{top}" width="{last - first}" height="{LANE}" '
        f'fill="{_hex(kind)}"><title>{kind} {mark.word}</title></rect>'
    )
    if kind == "turn":
        box += f'<text x="{first + 2}" y="{top - 6}">{mark.word}</text>'
    return box


def _tick(session: Overview, tick: int, height: int) -> str:
    x = tick * COLUMNS // _TICKS
    seconds = session.frames / session.sample_rate * tick / _TICKS
    minutes, rest = divmod(seconds, 60)
    return (
        f'<line x1="{x}" y1="{height - 34}" x2="{x}" y2="{height - 26}" stroke="black"/>'
        f'<text x="{x + 2}" y="{height - 12}">{int(minutes)}:{rest:04.1f}</text>'
    )


def _hex(kind: str) -> str:
    return "#" + "".join(f"{part:02x}" for part in _COLOURS[kind])

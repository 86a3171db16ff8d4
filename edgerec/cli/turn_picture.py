"""Draws a session as a picture: both waveforms, their levels, turns and gaps, over time.

SVG for people, with times and numbers; PNG, without text, where only pictures are shown
(decision 0020).
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

from edgerec.audio import TRACKS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgerec.store.archive.tree import Marked, Overview

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

"""The recorders that are compared, and their command lines."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from inputs import Inputs

HERE = Path(__file__).parent
PIPECAT_PYTHON = HERE.parent.parent / ".venv-bench" / "bin" / "python"

RATE_HZ = 16_000
CHUNK_S = 30

EDGEREC_CONFIG = f"""\
recording: {{sample_rate: {RATE_HZ}, num_channels: 2, chunk_seconds: {CHUNK_S}}}
"""

FFMPEG_GRAPH = (
    f"[0:a]aresample={RATE_HZ}[user];[1:a]aresample={RATE_HZ}[bot];"
    "[user][bot]join=inputs=2:channel_layout=stereo[both]"
)


class Contender(NamedTuple):
    name: str
    command: Callable[[Inputs, Path], list[str]]
    """The command that records these inputs into this empty folder."""


def _edgerec(inputs: Inputs, out: Path) -> list[str]:
    config = out.with_suffix(".yaml")
    config.write_text(EDGEREC_CONFIG)
    program = [sys.executable, "-m", "edgerec", "replay", "--config", str(config)]
    return [*program, "--user", str(inputs.user), "--bot", str(inputs.bot), "--out", str(out)]


def _ffmpeg(inputs: Inputs, out: Path) -> list[str]:
    program = ["ffmpeg", "-nostdin", "-v", "error"]
    read = ["-i", str(inputs.user), "-i", str(inputs.bot), "-filter_complex", FFMPEG_GRAPH]
    write = ["-map", "[both]", "-c:a", "pcm_s16le", "-f", "segment", "-segment_time", str(CHUNK_S)]
    return [*program, *read, *write, str(out / "%06d.wav")]


def _pipecat(inputs: Inputs, out: Path) -> list[str]:
    program = [str(PIPECAT_PYTHON), str(HERE / "pipecat_buffer.py")]
    return [*program, str(inputs.user), str(inputs.bot), str(out), str(RATE_HZ)]


def _floor(inputs: Inputs, out: Path) -> list[str]:
    program = [sys.executable, str(HERE / "floor.py")]
    return [*program, str(inputs.user), str(inputs.bot), str(out), str(RATE_HZ)]


FFMPEG = Contender("ffmpeg", _ffmpeg)
FLOOR = Contender("floor: soxr and wave", _floor)
CONTENDERS = (
    Contender("edgerec replay", _edgerec),
    FFMPEG,
    Contender("pipecat AudioBufferProcessor", _pipecat),
    FLOOR,
)

"""Measures one program: CPU seconds, peak memory, and the audio that it wrote."""

import os
import subprocess
import tempfile
import wave
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    cpu_s: float
    """User and system, of the program and every child it waited for."""
    peak_mib: float
    """Maximum resident set of the program or of one of those children, whichever was larger."""
    written_s: float
    """Audio in the WAV files it left: a contender that writes less has not done the same."""


class RunError(Exception):
    """A contender that did not do its work."""


def measure(command: list[str], out: Path) -> Cost:
    """Run a command to its end; `out` is where it writes.

    Raises
    ------
    RunError
        It could not be started, failed, or wrote nothing.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        except OSError as error:
            raise RunError(f"can't start {command[0]}: {error.strerror}") from error
        # Not Popen.wait: only wait4 reports what this one child has used.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            lines = errors.read().decode(errors="replace").strip().splitlines() or [""]
            raise RunError(f"exit status {process.returncode}: {lines[-1]}")
    written_s = sum(_wav_seconds(path) for path in out.rglob("*.wav"))
    if written_s == 0:
        raise RunError(f"wrote no WAV file below {out}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, written_s)


def _wav_seconds(path: Path) -> float:
    with wave.open(str(path), "rb") as file:
        return file.getnframes() / file.getframerate()

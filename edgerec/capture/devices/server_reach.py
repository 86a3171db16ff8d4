"""Diagnoses why no sound server answers, and what to do about it.

PulseAudio and PipeWire listen in the runtime folder of their user's session. Looked at from the
outside; nothing is asked or started. Without numpy: the capture child uses it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_START: Final = (
    "systemctl --user restart pipewire-pulse (PipeWire; apt install it where it is missing) or "
    "pulseaudio"
)


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Why a sound server does not answer, with a hint."""

    why: str
    hint: str

    def __str__(self) -> str:
        """Return both as one line."""
        return f"{self.why}; {self.hint}"


def why_no_answer(env: Mapping[str, str] | None = None, user: int | None = None) -> NoAnswer:
    """Return the likeliest reason for which no sound server has answered pactl.

    Parameters
    ----------
    env
        Environment of the process that asked; by default ours.
    user
        Id of its user; by default ours.
    """
    env = os.environ if env is None else env
    user = os.geteuid() if user is None else user
    if shutil.which("pactl", path=env.get("PATH")) is None:
        return NoAnswer("pactl is not installed", "apt install pulseaudio-utils")
    if server := env.get("PULSE_SERVER"):
        return NoAnswer(
            f"the sound server at PULSE_SERVER={server} does not answer",
            "is it running, and is its socket open to this user?",
        )
    named = env.get("PULSE_RUNTIME_PATH") or env.get("XDG_RUNTIME_DIR")
    if not named:
        return NoAnswer(
            "no sound server can be found, as XDG_RUNTIME_DIR is not set",
            f"export XDG_RUNTIME_DIR=/run/user/{user} (sudo, cron and services of the system have "
            "none), and run as the user whose session has the server",
        )
    return _in_folder(Path(named), user, is_its_own="PULSE_RUNTIME_PATH" in env)


def _in_folder(folder: Path, user: int, *, is_its_own: bool) -> NoAnswer:
    linger = f"sudo loginctl enable-linger {user}; then, as that user, {_START}"
    try:
        owner = folder.stat().st_uid
        socket = folder / "native" if is_its_own else folder / "pulse" / "native"
        listens = socket.exists()
    except FileNotFoundError:
        return NoAnswer(f"no session of user {user} is open: there is no {folder}", linger)
    except OSError as error:
        return NoAnswer(f"{folder} can't be looked into: {error.strerror}", "run as its user")
    if owner != user:
        return NoAnswer(
            f"{folder} and its sound server are of user {owner}, this is user {user}",
            f"run as user {owner}",
        )
    if not listens:
        return NoAnswer(f"no sound server is running: there is no {socket}", _START)
    return NoAnswer(f"the sound server at {socket} does not answer", _START)

"""Asks PulseAudio and PipeWire for their sources and for who records what; says why none answers.

Both are asked through their own tools, where these are installed; `server_answers` reads what those
print. Without numpy: the capture child uses it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from edgerec.capture.devices.server_answers import (
    RecordingStream,
    ServerSource,
    ServerState,
    parse_clients,
    parse_default_source,
    parse_pactl_sources,
    parse_pw_dump,
    parse_state,
)

SERVER_TIMEOUT_S: Final = 2.0
"""Limit for an answer: a sound server answers in milliseconds; a frozen one never does."""

_LIST: Final = ["pactl", "--format=json", "list"]
# PipeWire without a sink prints @DEFAULT_SINK@, which no sink can be called.
_DEFAULT_SINK: Final = re.compile(r"^Default Sink: ([^@\s]\S*)$", re.MULTILINE)
_DEFAULT_SOURCE: Final = re.compile(r"^Default Source: ([^@\s]\S*)$", re.MULTILINE)
_UNPRINTED: Final = "(null)"  # what pactl up to 17 prints as JSON for text that is not ASCII
_DESCRIPTION: Final = re.compile(r"^\tName: (.*)\n\tDescription: (.*)$", re.MULTILINE)


class SoundServerError(Exception):
    """A sound server's tool printed what we can't read."""


def read_sources() -> list[ServerSource]:
    """Return the sound server's sources; none if there is no server, or it does not answer.

    Raises
    ------
    SoundServerError
        Its answer can't be read.
    """
    for parse, command in (
        (parse_pactl_sources, [*_LIST, "sources"]),
        (parse_pw_dump, ["pw-dump"]),
    ):
        printed = output_of(command)
        if printed is None:
            continue
        try:
            sources = parse(printed)
        except (ValueError, KeyError, TypeError) as error:
            raise SoundServerError(
                f"reading what `{' '.join(command)}` printed: {error!r}"
            ) from error
        return _described(sources)
    return []


def _described(sources: list[ServerSource]) -> list[ServerSource]:
    """Fill in the descriptions that pactl can't put into JSON because they are not ASCII."""
    if all(source.description != _UNPRINTED for source in sources):
        return sources
    descriptions = dict(_DESCRIPTION.findall(output_of(["pactl", "list", "sources"]) or ""))
    return [
        replace(source, description=descriptions.get(source.name, source.name))
        if source.description == _UNPRINTED
        else source
        for source in sources
    ]


def read_state(pids: Collection[int] = ()) -> ServerState | None:
    """Ask the sound server from which source each process records; None without an answer.

    Parameters
    ----------
    pids
        Processes of interest. Streams whose process PipeWire's ALSA plug-in does not report are
        found by the process id that PipeWire has from the kernel.

    Raises
    ------
    SoundServerError
        Its answer can't be read.
    """
    outputs = output_of([*_LIST, "source-outputs"])
    sources = output_of([*_LIST, "short", "sources"])
    if outputs is None or sources is None:
        return None
    try:
        state = parse_state(outputs, sources)
        if state.unnamed and not state.streams.keys() >= set(pids):
            dump = output_of(["pw-dump"])
            state = parse_state(outputs, sources, parse_clients(dump)) if dump else state
    except (ValueError, KeyError, TypeError) as error:
        raise SoundServerError(f"reading what pactl or pw-dump printed: {error!r}") from error
    return state


@dataclass(frozen=True, slots=True)
class SoundServer:
    """The sound server that answers, and its defaults."""

    is_pipewire: bool
    default_sink: str | None
    """Default sink: where a program plays that names none."""
    default_source: str | None = None
    """Default source: what a program records that names none."""


def read_server() -> SoundServer | None:
    """Ask the sound server what it is; None without an answer."""
    info = output_of(["pactl", "info"])
    if info is None:
        return None
    sink, source = _DEFAULT_SINK.search(info), _DEFAULT_SOURCE.search(info)
    return SoundServer("PipeWire" in info, sink[1] if sink else None, source[1] if source else None)


def read_default_source() -> str | None:
    """Ask for the default source; None without an answer.

    Raises
    ------
    SoundServerError
        The answer can't be read.
    """
    server = read_server()
    if server is not None:
        return server.default_source
    dump = output_of(["pw-dump"])
    try:
        return None if dump is None else parse_default_source(dump)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SoundServerError(f"reading what pw-dump printed: {error!r}") from error


def pin_stream(stream: RecordingStream, sources: Collection[str]) -> bool:
    """Make PulseAudio leave a stream on its source when the default source changes.

    It does so with streams that were explicitly moved, whatever they requested when they began. So
    the stream is moved to another source and back, which takes 10 ms.

    Returns
    -------
    Whether it was moved. PipeWire needs none: it moves no stream that has requested a source.
    """
    other = next((name for name in sorted(sources) if name != stream.source), None)
    server = read_server()
    if other is None or stream.source is None or server is None or server.is_pipewire:
        return False
    for source in (other, stream.source):
        if output_of(["pactl", "move-source-output", str(stream.index), source]) is None:
            return False
    return True


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


def output_of(command: Sequence[str]) -> str | None:
    """Run a program; None if it is not installed, can't be started, or finds no server."""
    # In a locale with decimal commas pactl prints numbers that are not JSON.
    env = os.environ | {"LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=SERVER_TIMEOUT_S, check=False, env=env
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # Names from here get into sidecars and answers, which are UTF-8.
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None

"""Show, write and test the configuration that makes the loudspeaker recordable."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import yaml

from edgerec import kernel
from edgerec.cli.options import add_json, add_named_config
from edgerec.cli.output import note, os_failure, print_json, say
from edgerec.cli.process import Exit
from edgerec.config import Config, TrackConfig, TracksConfig, load_config
from edgerec.doctor.checkup import Finding
from edgerec.doctor.loopback import Recipe, look, recipe, yaml_lines

HELP = """Show the configuration that makes the loudspeaker's signal recordable, for what is found
here: the monitor of a PulseAudio or PipeWire sink, or snd-aloop under ALSA's default device.
Changes nothing without --write."""


class NotWrittenError(Exception):
    """The file can't be changed; says what to do by hand."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--write",
        metavar="FILE",
        type=Path,
        help="write the first file shown: edgerec's own where there is a sound server, else "
        "ALSA's (/etc/asound.conf); the old file is kept as FILE.bak-TIME",
    )
    parser.add_argument(
        "--test",
        action="store_true",
        help="play three sweeps on the loudspeaker and look for them in the loopback",
    )
    add_named_config(parser, "to check: is it set there?")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Show it, and write and test it if asked to."""
    config = None if args.config is None else load_config(args.config, records=False)
    found = recipe(look())
    if config is not None and found.bot is not None:
        found = dataclasses.replace(found, steps=(*found.steps, _is_set(config, found.bot)))
    if not args.json:
        for line in _shown(found):
            say(line)
    written = tested = None
    try:
        if args.write is not None:
            written = str(_write(found, args.write))
    except NotWrittenError as error:
        note(f"edgerec loopback: {error}")
        return Exit.FAILED
    except OSError as error:
        note(f"edgerec loopback: {os_failure('writing', error)}")
        return Exit.FAILED
    if args.test:
        tested = _test(found)
    if args.json:
        shown = dataclasses.asdict(found)
        for file in shown["files"]:
            file["path"] = str(file["path"])
        test = None if tested is None else dataclasses.asdict(tested)
        print_json({**shown, "written": written, "test": test})
    else:
        if written is not None:
            say(f"written: {written}")
        if tested is not None:
            say(f"test: {tested.told}")
            if tested.fix:
                say(f"  -> {tested.fix}")
    if found.bot is None or (tested is not None and tested.severity != "ok"):
        return Exit.FAILED
    return Exit.DONE


def _shown(found: Recipe) -> list[str]:
    lines = [f"found: {found.found}"]
    for file in found.files:
        lines += ["", f"{file.path}:", *(f"    {line}" for line in file.content.splitlines())]
    of_ours = list(yaml_lines(found))
    if of_ours and not any(file.path.suffix == ".yaml" for file in found.files):
        lines += ["", "edgerec.yaml:", *(f"    {line}" for line in of_ours)]
    if found.steps:
        lines += ["", *(f"- {step}" for step in found.steps)]
    return lines


def _is_set(config: Config, bot: str) -> str:
    is_set = config.tracks.bot.source == "portaudio" and config.tracks.bot.device == bot
    return "it is set in the configuration" if is_set else "it is not set in the configuration yet"


def _write(found: Recipe, path: Path) -> Path:
    """Write the first file of a recipe, with a backup, unless it is already right."""
    if not found.files:
        raise NotWrittenError("there is nothing to write, see above")
    file = found.files[0]
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise NotWrittenError(f"{path} is not a regular file")
    before = kernel.read_text(path) if path.exists() else None
    content = file.content
    if before is not None and file.path.suffix == ".yaml":
        content = _with_tracks(before, content, path)
    if content == before:
        return path
    if before is not None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        shutil.copy2(path, path.with_name(f"{path.name}.bak-{stamp}"))
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(content.encode("utf-8", "surrogateescape"))
    if before is not None:
        shutil.copymode(path, fresh)
    os.replace(fresh, path)  # noqa: PTH105 -- whole, or as it was
    return path


def _with_tracks(before: str, content: str, path: Path) -> str:
    """Return a configuration with our lines at its end, unless it already has tracks."""
    try:
        there = yaml.safe_load(before) or {}
    except yaml.YAMLError as error:
        raise NotWrittenError(f"{path} is not valid YAML; see `edgerec check`: {error}") from error
    if not isinstance(there, dict) or "tracks" in there:
        wanted = yaml.safe_load(content)["tracks"]["bot"]
        if isinstance(there, dict) and isinstance(there["tracks"], dict):
            bot = there["tracks"].get("bot") or {}
            if isinstance(bot, dict) and bot.get("device") == wanted["device"]:
                return before
        raise NotWrittenError(
            f"{path} already has tracks: set tracks.bot.device to {wanted['device']!r} there"
        )
    return before + ("" if before.endswith("\n") else "\n") + content


def _test(found: Recipe) -> Finding:
    from edgerec.doctor.sound_check import (  # late: it loads the whole recorder
        SoundCheckError,
        judge_sound,
        play_and_record,
        player_command,
    )

    if found.bot is None:
        return Finding("chirp", "failure", "there is no loopback to test", "see above")
    bot = TrackConfig(device=found.bot, channels=2)
    config = Config(tracks=TracksConfig(user=TrackConfig(source="none"), bot=bot))
    try:
        (told,) = judge_sound(config, play_and_record(config, player_command(config, None)))
    except SoundCheckError as error:
        fix = "do what is shown above first; the service must not hold the device"
        return Finding("chirp", "failure", str(error), fix)
    return told

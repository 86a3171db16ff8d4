"""Check for what would go wrong on this machine, and say what to do about it."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from edgerec.capture.devices.catalog import list_devices
from edgerec.cli.options import add_config, add_json, add_socket
from edgerec.cli.output import print_json, say
from edgerec.cli.process import Exit
from edgerec.clock import SystemClock
from edgerec.config import (
    Config,
    ConfigError,
    absences,
    file_to_record_by,
    load_config,
    shared_root,
)
from edgerec.doctor.checkup import (
    Finding,
    check_clock,
    check_disk,
    check_permissions,
    check_power,
    check_service,
    check_turns,
)
from edgerec.doctor.device_checkup import check_devices
from edgerec.health.status import Status
from edgerec.service.control.client import ServiceConnection, ServiceError
from edgerec.service.control.socket import sockets_to_try
from edgerec.store.disk import StoreError

HELP = """Look for what will go wrong: configuration, devices, permissions, disk, clock, power, and
what the running service says of itself. Run it as the service's user. Exit status: 0 all is well,
3 something is wrong, 1 it can't record like this."""

_MARKS: Final = {"ok": " ok ", "note": "note", "warning": "WARN", "failure": "FAIL"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    played = parser.add_mutually_exclusive_group()
    played.add_argument(
        "--chirp",
        action="store_true",
        help="play three sweeps and prove that both tracks hear them; takes half a minute, and "
        "the devices: where no sound server shares them, stop the service first",
    )
    played.add_argument(
        "--alignment",
        action="store_true",
        help="play seven sweeps and measure how far apart the tracks hear them, its error, and "
        "which offset_ms to set; takes a minute, and the devices, like --chirp",
    )
    parser.add_argument(
        "--output",
        metavar="DEVICE",
        help="with --chirp or --alignment: an ALSA PCM or pulse:SINK to play on (default: the one "
        "whose monitor the bot track records, else the default)",
    )
    add_json(parser)
    add_socket(parser)
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Check everything, and print the findings."""
    findings = list(_examine(args.config, args.socket))
    if args.chirp or args.alignment:
        findings += _play(args.config, args.output, is_alignment=args.alignment)
    if args.json:
        print_json({"findings": [dataclasses.asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            say(f"[{_MARKS[finding.severity]}] {finding.area}: {finding.told}")
            if finding.fix:
                say(f"       -> {finding.fix}")
    return _exit(findings)


def _exit(findings: Sequence[Finding]) -> int:
    severities = {finding.severity for finding in findings}
    if "failure" in severities:
        return Exit.FAILED
    return Exit.DEGRADED if "warning" in severities else Exit.DONE


def _examine(named: Path | None, socket: Path | None) -> Iterator[Finding]:
    config = Config()
    try:
        file = file_to_record_by(named)
        config = load_config(file)
    except ConfigError as error:
        for problem in error.problems:
            where = [str(part) for part in (error.file, problem.place, problem.path) if part]
            told = ": ".join([*where, problem.problem])
            yield Finding("config", "failure", told, problem.hint)
        if error.more:
            fix = "correct those above first"
            yield Finding("config", "failure", f"{error.file}: {error.more} more", fix)
    else:
        yield Finding("config", "ok", f"{file} is in order")
        for one in (*absences(config), *shared_root(config)):
            yield Finding("config", "warning", f"{one.path}: {one.problem}", one.hint)
    yield from check_devices(config, list_devices)
    yield from check_permissions(config)
    yield from check_disk(config)
    yield from check_turns(config)
    yield from check_clock(trust_rtc=config.storage.trust_rtc)
    yield from check_power()
    configured = socket or config.control.socket
    status, why_not = _ask((configured,) if configured else sockets_to_try())
    yield from check_service(status, why_not)


def _play(file: Path | None, output: str | None, *, is_alignment: bool) -> list[Finding]:
    from edgerec.doctor.alignment import ALIGNMENT_SWEEPS, SWEEPS
    from edgerec.doctor.sound_check import (  # late: it loads the whole recorder
        SoundCheckError,
        judge_alignment,
        judge_sound,
        log_chirp,
        play_and_record,
        player_command,
    )

    try:
        config = load_config(file)
        sweeps = ALIGNMENT_SWEEPS if is_alignment else SWEEPS
        check = play_and_record(config, player_command(config, output), sweeps)
        now = SystemClock(trust_rtc=config.storage.trust_rtc).read()
        judge = judge_alignment if is_alignment else judge_sound
        return [*judge(config, check), *log_chirp(config, check, now)]
    except ConfigError:
        fix = "put the configuration right first"
        return [Finding("chirp", "failure", "not tried: nothing says which devices", fix)]
    except (SoundCheckError, StoreError) as error:
        fix = "see the findings above; --output names another device to play on"
        return [Finding("chirp", "failure", str(error), fix)]


def _ask(sockets: Sequence[Path]) -> tuple[Status | None, str]:
    try:
        with ServiceConnection(sockets) as service:
            return service.status(), ""
    except ServiceError as error:
        return None, str(error)

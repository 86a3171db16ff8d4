"""Repair and publish, or quarantine, what a crash left in the work folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgerec.cli.options import add_config, add_json
from edgerec.cli.output import note, print_json, print_published, published_as_json, say
from edgerec.cli.process import Exit
from edgerec.clock import SystemClock
from edgerec.config import load_config
from edgerec.stamps import stamp_now
from edgerec.store.disk import StoreError
from edgerec.store.records.naming import utc_text
from edgerec.store.root import StorageRoot
from edgerec.store.writing.recover import CutShort, Recovery, recover

HELP = (
    "Repair and publish what a crash left in the work folder of storage.root, or move it to "
    "quarantine; `edgerec run` does so while it records. Exit status 1 if another process holds "
    "the folder or something is left: then nothing is lost, and it can be done again."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Recover, and print what was found."""
    storage = load_config(args.config, records=False).storage
    path = storage.root
    try:
        with StorageRoot(path, require_mount=storage.require_mount, must_exist=True) as root:
            recovery = recover(root, stamp_now(SystemClock(trust_rtc=storage.trust_rtc)))
    except StoreError as error:
        note(error)
        return Exit.FAILED
    if args.json:
        print_json(_as_json(path, recovery))
    else:
        _print_text(path, recovery)
    for left, reason in recovery.left:
        note(f"left as it is, {left.relative_to(path)!s}: {reason}")
    return Exit.FAILED if recovery.left else Exit.DONE


def _print_text(path: Path, recovery: Recovery) -> None:
    if recovery.cut_short is not None:
        cut = recovery.cut_short
        say(
            f"session {cut.session} was cut short; what came after {utc_text(cut.last.utc_ns)} "
            "is lost"
        )
    for completed in recovery.completed:
        say(f"published {completed.relative_to(path)}, which was whole")
    for quarantined, reason in recovery.quarantined:
        say(f"beyond repair, kept as {quarantined.relative_to(path)}: {reason}")
    if recovery.published:
        print_published(recovery.published, path)
    if not (recovery.published or recovery.completed or recovery.quarantined or recovery.left):
        say(f"{path}: nothing to recover")


def _as_json(path: Path, recovery: Recovery) -> dict[str, object]:
    return {
        "root": str(path),
        "cut_short": None if recovery.cut_short is None else _cut_as_json(recovery.cut_short),
        "published": published_as_json(recovery.published),
        "completed": [str(completed) for completed in recovery.completed],
        "quarantined": [
            {"path": str(quarantined), "reason": reason}
            for quarantined, reason in recovery.quarantined
        ],
        "deleted": [str(deleted) for deleted in recovery.deleted],
        "left": [{"path": str(left), "reason": reason} for left, reason in recovery.left],
    }


def _cut_as_json(cut: CutShort) -> dict[str, object]:
    return {
        "session": cut.session,
        "last_recorded_at": utc_text(cut.last.utc_ns),
        "utc_trusted": cut.last.utc_trusted,
    }

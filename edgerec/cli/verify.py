"""Check published files against their sidecars, and that none is missing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgerec.cli.options import add_config, add_json, add_tree, tree_path
from edgerec.cli.output import draw, note, print_json, say
from edgerec.cli.process import Exit
from edgerec.store.archive.continuity import Issue
from edgerec.store.archive.verify import Report, verify
from edgerec.store.disk import StoreError

HELP = (
    "Check published files, in any tree at any depth, against their sidecars: presence, length, "
    "checksum, continuity of sessions. Exit status 1 if anything is wrong."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_tree(parser)
    add_config(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Verify a tree and print what was found."""
    top = tree_path(args)
    try:
        report = verify(top, _show_progress if sys.stderr.isatty() else None)
    except StoreError as error:
        note(error)
        return Exit.FAILED
    if args.json:
        print_json(_as_json(top, report))
    else:
        _print_text(top, report)
    return Exit.DONE if report.ok else Exit.FAILED


def _show_progress(done: int, total: int) -> None:
    end = "\r" if done < total else "\r\033[K"  # leave no trace of it above the result
    draw(f"{done} of {total} files{end}", sys.stderr)


def _print_text(top: Path, report: Report) -> None:
    for finding in report.findings:
        say(f"{finding.severity:5}  {_below(top, finding.path)}: {finding.problem}")
    errors = sum(finding.severity == "error" for finding in report.findings)
    say(
        f"{top}: {report.files} files, {report.bytes / 1e6:.1f} MB, {report.sessions} sessions: "
        + (f"{errors} errors" if errors else "ok")
    )


def _below(top: Path, path: Path) -> Path:
    return path.relative_to(top) if path.is_relative_to(top) else path


def _as_json(top: Path, report: Report) -> dict[str, object]:
    return {
        "path": str(top),
        "ok": report.ok,
        "files": report.files,
        "bytes": report.bytes,
        "sessions": report.sessions,
        "findings": [_finding(finding) for finding in report.findings],
    }


def _finding(finding: Issue) -> dict[str, str]:
    return {"path": str(finding.path), "severity": finding.severity, "problem": finding.problem}

"""What stands outside the code agrees with it: documents, configuration, unit file, scripts."""

import argparse
import configparser
import importlib
import json
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import yaml

from edgerec import __version__
from edgerec.audio import GapReason
from edgerec.cli import COMMANDS, command_named, demo
from edgerec.cli.process import Exit
from edgerec.config import Config, load_config
from edgerec.config.load import build, leaves
from edgerec.health.status import Status, to_json
from edgerec.service.control.socket import SYSTEM_FOLDER
from edgerec.store.records.sidecar import EndReason, Kind
from edgerec.validation.typed import from_plain
from tests import CHECKOUT

ROOT = CHECKOUT
EXAMPLE = ROOT / "config" / "edgerec.yaml"
README = ROOT / "README.md"
DOCUMENTS = sorted([README, ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
SCRIPTS = sorted(
    path
    for folder in (ROOT / "scripts", ROOT / ".ci")
    for path in folder.iterdir()
    if path.is_file() and path.read_bytes().startswith(b"#!/bin/bash")
)


def test_example_configuration_is_the_defaults():
    assert load_config(EXAMPLE) == Config()


def test_example_configuration_has_every_key():
    given = set(paths(yaml.safe_load(EXAMPLE.read_text())))
    assert given == {path for path, _ in leaves(Config())}


def paths(document, above=""):
    for key, value in document.items():
        path = f"{above}.{key}".removeprefix(".")
        if isinstance(value, dict) and value:  # an empty one is a setting, such as env
            yield from paths(value, path)
        else:
            yield path


def test_example_configuration_states_the_ranges_that_are_enforced():
    comments = dict(comments_above_keys(EXAMPLE.read_text()))
    for path, _ in leaves(Config()):
        bounds = enforced_range(path)
        if bounds and not path.startswith("tracks.bot."):  # explained at tracks.user
            assert bounds in comments[path], path


def enforced_range(path):
    """Return "LOW to HIGH" as a wrong value's hint gives it; None: no range, or only of bytes."""
    document = -1e30
    for key in reversed(path.split(".")):
        document = {key: document}
    _, (problem,) = build(Config(), document)
    found = re.search(r"number from (\S+ to \S+)(?! bytes)\b", problem.hint)
    return found and found[1]


def comments_above_keys(text):
    """Yield the dotted path of every key, with the comment lines above it as one."""
    comment, keys = [], []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            comment.append(line.strip(" #"))
        elif line:
            depth = (len(line) - len(line.lstrip())) // 2
            keys[depth:] = [line.split(":")[0].strip()]
            yield ".".join(keys), " ".join(comment)
            comment = []


UNITS = ("edgerec.service", "edgerec-user.service")


def service_of(unit_file):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(ROOT / "systemd" / unit_file)
    return unit["Service"]


@pytest.mark.parametrize("unit_file", UNITS)
def test_unit_waits_for_the_watchdog_longer_than_a_disk_may_stall(unit_file):
    service = service_of(unit_file)
    assert float(service["WatchdogSec"]) >= Config().storage.stall_seconds
    assert float(service["TimeoutStopSec"]) > 2 * Config().storage.stall_seconds


@pytest.mark.parametrize("unit_file", UNITS)
def test_unit_does_not_restart_on_a_bad_configuration(unit_file):
    service = service_of(unit_file)
    assert service["RestartPreventExitStatus"] == str(int(Exit.CONFIG))
    assert service["Type"] == "notify"


def test_unit_s_folders_are_the_configuration_s_defaults():
    unit = (ROOT / "systemd" / "edgerec.service").read_text()
    state = re.search(r"^StateDirectory=(.+)$", unit, re.MULTILINE)[1]
    runtime = re.search(r"^RuntimeDirectory=(.+)$", unit, re.MULTILINE)[1]
    assert Path("/var/lib") / state == Config().storage.root
    assert Path("/run") / runtime == SYSTEM_FOLDER


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shell_script_parses_and_can_be_run(script):
    subprocess.run(["/bin/bash", "-n", script], check=True)
    assert os.access(script, os.X_OK)


def test_changelog_has_this_version():
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_relative_link_leads_somewhere(document):
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text()):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve()
        assert target.exists(), link
        assert not anchor or f"\n## {anchor}\n" in target.read_text().casefold(), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_a_document_names_exists(document):
    for file, name in re.findall(r"`([\w/]+\.py)::(test_\w+)`", document.read_text()):
        tests = ROOT / "tests" / file
        assert tests.exists() and f"def {name}(" in tests.read_text(), f"{file}::{name}"


def test_every_failure_has_an_answer_and_names_a_test():
    """That it exists is tested with all tests that documents name."""
    rows = failures()
    assert len(rows) > 50
    for row in rows:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 5 and all(cells[n] for n in (0, 2, 3)), row
        named = re.fullmatch(r"`[\w/]+\.py::test_\w+`(, `[\w/]+\.py::test_\w+`)*", cells[4])
        assert named, row


def test_failures_have_every_reason_of_the_status_and_no_other():
    (row,) = re.findall(
        r"^\| `reasons` \|.*$", (ROOT / "docs/contract.md").read_text(), re.MULTILINE
    )
    reasons = set(re.findall(r"`(\w+)`", row)) - {"reasons", "code"}
    told = {
        word for row in failures() for word in re.findall(r"`(?:degraded|failed)` `(\w+)`", row)
    }
    assert told == reasons


def failures():
    """Return the rows of the tables of failures, without their heads."""
    text = (ROOT / "docs" / "failures.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [row for row in rows if not row.startswith(("| what |", "|---"))]


def test_architecture_describes_every_room_and_no_other():
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = text[text.index("\n## Rooms\n") : text.index("\n## Where to change what\n")]
    package = ROOT / "edgerec"
    folders = {path.parent.relative_to(package).as_posix() for path in package.rglob("*.py")}
    modules = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    described = re.findall(r"\*\*`([\w/.]+)`\*\*", rooms)
    assert sorted(described) == sorted({f"{folder}/" for folder in folders - {"."}} | modules)


def test_architecture_draws_the_layers_that_are_enforced():
    """The picture is import-linter's contract, but for `python -m edgerec`."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (layers,) = (one["layers"] for one in contract["contracts"])
    drawn = next(
        block
        for block in blocks(ROOT / "docs" / "architecture.md", "")
        if block.startswith("cli\n")
    )
    assert drawn.splitlines() == layers[1:]


def test_architecture_names_files_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text()
    table = text[text.index("\n## Where to change what\n") : text.index("\n## Processes and")]
    for path in re.findall(r"`([\w/]+(?:\.py|/|\.yaml))`", table):
        assert (ROOT / "edgerec" / path).exists() or (ROOT / path).exists(), path


def test_synchronisation_states_the_constants_of_the_code():
    text = (ROOT / "docs" / "synchronisation.md").read_text()
    stated = re.findall(r"^\| `(\w+)\.([A-Z_]+)` \| (\S+) \|$", text, re.MULTILINE)
    assert stated
    for module, name, value in stated:
        code = importlib.import_module(f"edgerec.sync.{module}")
        assert getattr(code, name) == float(value), name


def test_contract_s_configuration_has_every_key_with_its_default():
    (text,) = blocks(ROOT / "docs" / "contract.md", "yaml")
    document = yaml.safe_load(text)
    config, problems = build(Config(), document)
    assert (config, problems) == (Config(), [])
    assert {path for path, _ in leaves(Config())} - set(paths(document)) == {
        *(f"hooks.{event}" for event in ("on_chunk", "on_turn", "on_state")),
        *(path for path, _ in leaves(Config()) if ".simulate." in path),
    }


def test_contract_lists_the_commands_there_are_and_no_others():
    text = (ROOT / "docs" / "contract.md").read_text()
    rows = re.findall(r"^\| (`[a-z].*?) \| ", text.partition("## Configuration")[0], re.MULTILINE)
    assert {word for row in rows for word in re.findall(r"`([a-z]+)", row)} == set(COMMANDS)


def status_in_contract():
    """Return the part of the contract on the status, and the status that is printed there."""
    text = (ROOT / "docs" / "contract.md").read_text()
    part = text[text.index("\n## Status\n") : text.index("\n## Metrics\n")]
    (document,) = re.findall(r"```json\n(.*?)```", part, re.DOTALL)
    return part, json.loads(document)


def test_contract_s_status_has_every_field_in_order_and_no_other():
    """A field that only one of the two has is lost, or has its default, on the way."""
    _, document = status_in_contract()
    assert json.dumps(to_json(from_plain(Status, document))) == json.dumps(document)


def test_contract_s_table_of_the_status_explains_its_fields_and_reasons():
    part, document = status_in_contract()
    (reasons,) = re.findall(r"^\| `reasons` \|.*$", part, re.MULTILINE)
    known = set(names_in(document)) | set(re.findall(r"`(\w+)`", reasons))
    rows = re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)
    words = [word for row in rows for word in re.findall(r"`(?:\w+\.\*\.)?(\w+)`", row)]
    assert len(words) > 30
    assert set(words) <= known


def names_in(value):
    """Yield every name of a field in a JSON value."""
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield name
        yield from names_in(inner)
    for inner in value if isinstance(value, list) else ():
        yield from names_in(inner)


def test_contract_names_every_reason_and_kind_that_sidecars_have():
    rows = (ROOT / "docs" / "contract.md").read_text().splitlines()
    for field, words in (
        ("gaps", {reason.label for reason in GapReason if reason}),
        ("end_reason", set(get_args(EndReason))),
        ("kind", set(get_args(Kind))),
    ):
        (row,) = (row for row in rows if row.startswith(f"| `{field}` |"))
        assert words <= set(re.findall(r"`(\w+)`", row)), field


def test_readme_s_configuration_is_accepted(tmp_path):
    (text,) = blocks(README, "yaml")
    file = tmp_path / "kiosk.yaml"
    file.write_text(text)
    assert load_config(file).recording.chunk_seconds == 30


def test_readme_s_commands_are_there_and_take_their_arguments():
    lines = [line for block in blocks(README, "sh") for line in block.splitlines()]
    for program, *arguments in (shlex.split(line, comments=True) for line in lines):
        if program.startswith("scripts/"):
            assert os.access(ROOT / program, os.X_OK), program
        elif program == "edgerec":
            command = command_named(arguments[0])
            parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
            command.add_arguments(parser)
            parser.parse_args(arguments[1:])
        else:
            assert program in ("rsync", "rclone"), program


def test_readme_shows_what_the_demo_prints():
    """Names and times differ, the rest is as `edgerec demo` prints it now."""
    shown = next(block for block in blocks(README, "") if "files under" in block)
    files = re.findall(r"^  ready/\S+_(\d{6}_\w+\.\w+)  (.+)$", shown, re.MULTILINE)
    frames = round(demo.CHUNK_SECONDS * demo.demo_config(ROOT).recording.sample_rate)
    count = round(demo.DEFAULT_SECONDS / demo.CHUNK_SECONDS)
    assert files == [
        *((f"{n:06d}_chunk.wav", f"chunk, {frames} frames, ended by full") for n in range(count)),
        ("000000_session.json", f"session, {count * frames} frames, ended by stop"),
    ]


def blocks(document, language):
    """Return the fenced blocks of one language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)
    return [text for name, text in fenced if name == language]

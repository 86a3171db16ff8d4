"""The frame of the command line, tried on a command made for the purpose, and `check`."""

import errno
import importlib
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from edgerec import __version__, cli
from edgerec.cli.process import Exit
from edgerec.config import ConfigError, Problem, load
from tests import CHECKOUT

EXAMPLE = str(CHECKOUT / "config" / "edgerec.yaml")
GOOD = "tracks: {user: {source: simulated}, bot: {source: none}}\n"


@pytest.fixture(autouse=True)
def _no_configuration_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGEREC_CONFIG", raising=False)
    monkeypatch.setattr(load, "DEFAULT_FILE", tmp_path / "none.yaml")


@pytest.fixture
def stand_in(monkeypatch):
    """Make `edgerec verify` run a function in place of the real one."""

    def stand_in(run):
        module = types.ModuleType("edgerec.cli.verify")
        module.HELP = "Stands in."
        module.add_arguments = lambda parser: parser.add_argument("--json", action="store_true")
        module.run = run
        monkeypatch.setitem(sys.modules, "edgerec.cli.verify", module)

    return stand_in


def raising(error):
    def run(args):
        raise error

    return run


def test_command_gets_its_arguments_and_its_status_is_returned(stand_in):
    seen = []
    stand_in(lambda args: seen.append(args.json) or Exit.DEGRADED)
    assert cli.main(["verify", "--json"]) == Exit.DEGRADED == 3
    assert seen == [True]


def test_exit_numbers_are_those_that_scripts_and_units_rely_on():
    assert (Exit.DONE, Exit.FAILED, Exit.USAGE, Exit.DEGRADED, Exit.CONFIG) == (0, 1, 2, 3, 78)


def test_configuration_error_of_any_command_prints_all_and_ends_with_78(stand_in, capsys):
    problems = [Problem("a", "wrong", "right it"), Problem("b", "unknown", "drop it")]
    stand_in(raising(ConfigError(Path("k.yaml"), problems)))
    assert cli.main(["verify"]) == 78
    expected = "k.yaml: 2 problems\n  a: wrong; right it\n  b: unknown; drop it\n"
    assert capsys.readouterr() == ("", expected)


def test_interrupt_from_the_keyboard_is_quiet(stand_in, capsys):
    stand_in(raising(KeyboardInterrupt()))
    assert cli.main(["verify"]) == 130
    assert capsys.readouterr() == ("", "")


def test_interrupt_while_a_command_is_still_being_imported_is_quiet_too(monkeypatch, capsys):
    monkeypatch.setattr("importlib.import_module", raising(KeyboardInterrupt()))
    assert cli.main(["verify"]) == 130
    assert capsys.readouterr() == ("", "")


def test_unexpected_exception_keeps_its_traceback(stand_in):
    stand_in(raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["verify"])


def test_broken_pipe_that_is_not_the_output_is_not_hidden(stand_in, monkeypatch, tmp_path):
    stand_in(raising(BrokenPipeError()))
    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(BrokenPipeError):
            cli.main(["verify"])


def test_output_that_nobody_reads_any_more_ends_the_command_quietly():
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.run(
        [sys.executable, "-m", "edgerec", "check", "--config", EXAMPLE],
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert process.stderr == b""
    assert process.returncode == Exit.BROKEN_PIPE


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["check", "--config", EXAMPLE], ["devices", "--help"]])
def test_output_that_a_full_disk_does_not_take_is_told_in_a_line(words, unbuffered):
    with Path("/dev/full").open("w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "edgerec", *words],
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert process.stderr == b"edgerec: writing the output: No space left on device\n"
    assert process.returncode == Exit.FAILED


def test_a_failing_disk_that_is_not_the_output_s_keeps_its_traceback(stand_in):
    stand_in(raising(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="full"):
        cli.main(["verify"])


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("words", "status"), [(f"check --config {EXAMPLE}", 0), ("dance", 2)])
def test_a_standard_stream_that_was_closed_is_missed_by_nothing(closed, words, status):
    process = subprocess.run(
        ["/bin/sh", "-c", f'exec "{sys.executable}" -m edgerec {words} {closed}'],
        capture_output=True,
        check=False,
    )
    assert process.returncode == status
    assert b"Traceback" not in process.stderr


def test_a_library_is_loaded_only_when_the_standard_streams_are_there():
    """libffi keeps a file open, from 3.5 on: in the place of a closed stdout it took no output."""
    script = "import sys, edgerec.cli; sys.exit('ctypes' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_file_that_is_opened_later_does_not_take_the_place_of_a_closed_stream(tmp_path):
    """What a library complains of must not end up in a recording."""
    script = (
        "import os\nfrom edgerec.cli.process import open_missing\nopen_missing()\n"
        f"file = open({str(tmp_path / 'x')!r}, 'w')\nos.write(2, b'complaint')\nprint('told')\n"
        "assert file.fileno() > 2"
    )
    command = f"exec '{sys.executable}' -c \"$0\" <&- >&- 2>&-"
    process = subprocess.run(["/bin/sh", "-c", command, script], check=False)
    assert process.returncode == 0
    assert (tmp_path / "x").read_bytes() == b""


@pytest.mark.parametrize("words", [[], ["dance"], ["check", "--conf", "x"], ["check", "extra"]])
def test_wrong_command_line_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert caught.value.code == 2
    assert "usage: edgerec" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["meter", "tap user", "trace", "demo"])
@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "1e9", "long"])
def test_no_length_of_time_is_a_wrong_command_line(command, seconds, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([*command.split(), f"--seconds={seconds}"])
    assert ended.value.code == Exit.USAGE
    assert "--seconds" in capsys.readouterr().err.splitlines()[-1]


def test_help_lists_every_command_and_imports_none(capsys, monkeypatch):
    monkeypatch.setattr(importlib, "import_module", raising(AssertionError("imported")))
    with pytest.raises(SystemExit) as caught:
        cli.main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(f"\n    {name} " in text for name in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_takes_a_configuration(command, capsys):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert "--config FILE" in capsys.readouterr().out


def test_help_of_a_command_says_what_it_does(stand_in, capsys):
    stand_in(raising(AssertionError("run")))
    with pytest.raises(SystemExit):
        cli.main(["verify", "--help"])
    assert "Stands in." in capsys.readouterr().out


def test_version_is_the_package_s(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"edgerec {__version__}\n"


def test_check_needs_neither_numpy_nor_portaudio():
    script = (
        "import sys; from edgerec.cli import main; main(['check', '--config', sys.argv[1]]); "
        "sys.exit(bool({'numpy', 'sounddevice', 'soxr'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script, EXAMPLE], check=True, capture_output=True)


def test_check_of_a_good_file_says_so(tmp_path, capsys):
    file = tmp_path / "kiosk.yaml"
    file.write_text(GOOD)
    assert cli.main(["check", "--config", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: ok\n"
    assert cli.main(["check", "--config", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(file),
        "ok": True,
        "problems": [],
        "more_problems": 0,
        "warnings": [],
    }


@pytest.mark.parametrize("command", ["check", "trace"])
def test_without_any_file_nothing_is_recorded_and_it_is_said_what_to_do(command, capsys):
    assert cli.main([command]) == 78
    assert "there is no configuration; name one by --config" in capsys.readouterr().err


def test_check_without_any_file_says_so_in_json(capsys):
    assert cli.main(["check", "--json"]) == 78
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["file"]) == (False, str(load.DEFAULT_FILE))


def test_check_refuses_where_a_package_that_run_needs_is_missing(tmp_path, capsys, monkeypatch):
    file = tmp_path / "kiosk.yaml"
    file.write_text(GOOD)
    monkeypatch.setitem(sys.modules, "earshot", None)
    assert cli.main(["check", "--config", str(file)]) == 78
    assert "can't run here without the Python packages earshot" in capsys.readouterr().err


def test_check_warns_of_what_is_not_on_this_machine_and_ends_with_0(tmp_path, capsys):
    file = tmp_path / "kiosk.yaml"
    file.write_text(f"{GOOD}hooks: {{on_chunk: [/no/such/program]}}\n")
    assert cli.main(["check", "--config", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{file}: ok\n"
    assert err.startswith("warning: hooks.on_chunk: there is no program /no/such/program; ")
    assert cli.main(["check", "--config", str(file), "--json"]) == 0
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert warning["path"] == "hooks.on_chunk"


def test_check_of_a_wrong_file_gives_every_problem_as_text_or_json(tmp_path, capsys):
    file = tmp_path / "kiosk.yaml"
    file.write_text(f"kiosk: k1\nturns: {{pre_roll_s: -1}}\n{GOOD}")
    assert cli.main(["check", "--config", str(file)]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{file}: 2 problems\n")
    assert cli.main(["check", "--config", str(file), "--json"]) == 78
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert err == ""
    assert not report["ok"]
    assert [problem["path"] for problem in report["problems"]] == ["kiosk", "turns.pre_roll_s"]
    assert set(report["problems"][0]) == {"path", "problem", "hint", "place"}
    assert report["problems"][1]["place"] == {"line": 2, "column": 9}

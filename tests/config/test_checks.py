"""What a configuration names and this machine lacks, or has already, is said before it matters."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from edgerec.config import Config, HooksConfig, MetricsConfig, StorageConfig, absences, shared_root


def told(*, hook=(), textfile=None):
    config = replace(
        Config(), hooks=HooksConfig(on_state=hook), metrics=MetricsConfig(textfile=textfile)
    )
    return [(one.path, one.problem) for one in absences(config)]


def test_nothing_is_named_by_the_defaults():
    assert list(absences(Config())) == []


@pytest.mark.parametrize("program", ["sh", "/bin/sh"])
def test_a_program_of_the_path_or_by_its_path_is_there(program):
    assert told(hook=(program, "-c", "exit")) == []


def test_a_program_that_is_not_there_is_told(tmp_path):
    ((path, problem),) = told(hook=("no-such-program",))
    assert (path, problem[:35]) == ("hooks.on_state", "there is no program no-such-program")
    missing = str(tmp_path / "x")
    assert told(hook=(missing,)) == [("hooks.on_state", f"there is no program {missing}")]


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to(path)])
def test_what_is_there_and_can_not_be_run_is_told(tmp_path, make):
    program = tmp_path / "notify"
    make(program)
    ((path, problem),) = told(hook=(str(program),))
    assert path == "hooks.on_state"
    assert str(program) in problem


def test_a_metrics_file_that_can_be_written_is_no_warning(tmp_path):
    assert told(textfile=tmp_path / "edgerec.prom") == []


def test_a_metrics_file_that_can_not_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "folder.prom").mkdir()
    (tmp_path / "closed").mkdir()
    assert told(textfile=Path("/no/such/x.prom")) == [
        ("metrics.textfile", "there is no folder /no/such")
    ]
    ((_, problem),) = told(textfile=tmp_path / "file" / "x.prom")
    assert problem == f"there is no folder {tmp_path}/file"
    ((_, problem),) = told(textfile=tmp_path / "folder.prom")
    assert problem.endswith("folder.prom is a folder")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may anywhere
    ((_, problem),) = told(textfile=tmp_path / "closed" / "x.prom")
    assert problem == f"this user may not write to {tmp_path}/closed"


def shared(root):
    config = replace(Config(), storage=StorageConfig(root=root))
    return [(one.path, one.problem) for one in shared_root(config)]


def test_a_folder_of_its_own_is_no_problem_nor_one_that_is_not_there(tmp_path):
    (tmp_path / "ready").mkdir()
    assert shared(tmp_path) == []
    assert shared(tmp_path / "not" / "there") == []


def test_other_things_in_it_are_shared(tmp_path):
    (tmp_path / "README.md").touch()
    assert shared(tmp_path) == [("storage.root", f"{tmp_path} holds 'README.md'")]


def test_a_checkout_around_it_is_shared(tmp_path):
    (tmp_path / ".git").mkdir()
    root = tmp_path / "recordings"
    wrong = f"{root} is in the checkout {tmp_path}, where `git clean` would delete recordings"
    assert shared(root) == [("storage.root", wrong)]

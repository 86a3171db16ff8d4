"""A storage root among other things is told of by everything that reads the configuration."""

from dataclasses import replace

from edgerec.config import Config, StorageConfig, shared_root


def told(root):
    config = replace(Config(), storage=StorageConfig(root=root))
    return [(one.path, one.problem) for one in shared_root(config)]


def test_a_folder_of_its_own_is_no_problem_nor_one_that_is_not_there(tmp_path):
    (tmp_path / "ready").mkdir()
    assert told(tmp_path) == []
    assert told(tmp_path / "not" / "there") == []


def test_other_things_in_it_are_told(tmp_path):
    (tmp_path / "README.md").touch()
    assert told(tmp_path) == [("storage.root", f"{tmp_path} holds 'README.md'")]


def test_a_checkout_around_it_is_told(tmp_path):
    (tmp_path / ".git").mkdir()
    root = tmp_path / "recordings"
    wrong = f"{root} is in the checkout {tmp_path}, where `git clean` would delete recordings"
    assert told(root) == [("storage.root", wrong)]

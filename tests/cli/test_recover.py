import json

import pytest

from edgerec import cli
from edgerec.store.root import StorageRoot
from tests.rigs.made_recordings import REPORTS, quiet_span, recording


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def recover(tmp_path, root, capsys):
    file = tmp_path / "edgerec.yaml"
    file.write_text(f"storage: {{root: {root}}}\n")

    def recover(*options):
        status = cli.main(["recover", "--config", str(file), *options])
        return status, *capsys.readouterr()

    return recover


@pytest.fixture
def crashed(root):
    """A recording that was synced and never ended, and a stranger beside it."""
    with StorageRoot(root) as held:
        session = recording(held, [])
        session.write(quiet_span(0, 40), REPORTS)
        session.sync()
        (held.work / "stranger").touch()


def test_what_was_lost_and_what_became_of_the_rest_is_told(recover, crashed):
    status, said, _ = recover()
    assert status == 0
    assert "session 9f3a01c2 was cut short; what came after 2026-11-22T10:15:00.163456Z" in said
    assert "beyond repair, kept as quarantine/stranger: nothing says what it is" in said
    assert "9f3a01c2_000000_chunk.wav  chunk, 40 frames, ended by crash" in said
    assert recover()[1] == f"{said.split('files under ')[1].split(':')[0]}: nothing to recover\n"


def test_a_program_gets_the_same_as_json(recover, crashed, root):
    status, said, _ = recover("--json")
    assert status == 0
    report = json.loads(said)
    assert report["cut_short"] == {
        "session": "9f3a01c2",
        "last_recorded_at": "2026-11-22T10:15:00.163456Z",
        "utc_trusted": True,
    }
    assert [file["kind"] for file in report["published"]] == ["chunk", "session"]
    [stranger] = report["quarantined"]
    assert stranger["path"] == str(root / "quarantine" / "stranger")


def test_a_root_that_is_recorded_into_is_left_alone(recover, root):
    with StorageRoot(root) as held:
        session = recording(held, [])
        session.write(quiet_span(0, 40), REPORTS)
        before = sorted(root.rglob("*"))
        status, said, complaint = recover()
        assert (status, said) == (1, "")
        assert "holds it" in complaint
        assert sorted(root.rglob("*")) == before


def test_a_disk_that_must_be_mounted_and_is_not_is_left_alone(tmp_path, root, capsys):
    file = tmp_path / "edgerec.yaml"
    file.write_text(f"storage: {{root: {root}, require_mount: true}}\n")
    root.mkdir()
    assert cli.main(["recover", "--config", str(file)]) == 1
    assert str(root) in capsys.readouterr().err
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("there", [True, False])
def test_a_root_that_was_never_recorded_into_is_an_error_and_not_made(recover, root, there):
    if there:
        root.mkdir()
    status, said, complaint = recover()
    assert (status, said) == (1, "")
    assert complaint == f"using {root}: nothing was ever recorded there; see storage.root\n"
    assert set(root.parent.rglob("*")) == {root.parent / "edgerec.yaml", *([root] * there)}

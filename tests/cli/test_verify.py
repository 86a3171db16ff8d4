import json

import pytest

from edgerec.cli import main
from tests.rigs.made_recordings import quiet_span, record

STRAY = "20261122T101500.123Z_9f3a01c2_000009_chunk.wav"


@pytest.fixture
def published(tmp_path):
    return record(tmp_path, [quiet_span(0, 100)])


def test_a_whole_tree_is_ok(tmp_path, published, capsys):
    assert main(["verify", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 1 files, 0.0 MB, 1 sessions: ok\n"


def test_what_is_wrong_is_named_and_fails_the_command(tmp_path, published, capsys):
    (tmp_path / STRAY).touch()
    assert main(["verify", str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"error  {STRAY}: has no sidecar",
        f"{tmp_path}: 2 files, 0.0 MB, 1 sessions: 1 errors",
    ]


def test_programs_get_the_same_as_json(tmp_path, published, capsys):
    (tmp_path / STRAY).touch()
    assert main(["verify", "--json", str(tmp_path)]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "path": str(tmp_path),
        "ok": False,
        "files": 2,
        "bytes": published[0].path.stat().st_size,
        "sessions": 1,
        "findings": [
            {
                "path": str(tmp_path / STRAY),
                "severity": "error",
                "problem": "has no sidecar",
            }
        ],
    }


def test_without_a_path_the_configured_root_is_looked_at(tmp_path, published, capsys):
    config = tmp_path / "edgerec.yaml"
    config.write_text(f"storage: {{root: {tmp_path}}}\n")
    assert main(["verify", "--config", str(config)]) == 0
    assert str(tmp_path) in capsys.readouterr().out


def test_a_folder_that_is_not_there_fails_the_command(tmp_path, capsys):
    assert main(["verify", str(tmp_path / "gone")]) == 1
    assert "listing" in capsys.readouterr().err


def test_progress_is_shown_on_a_terminal_only(tmp_path, published, capsys, monkeypatch):
    main(["verify", str(tmp_path)])
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    main(["verify", str(tmp_path)])
    assert "0 of 1 files" in capsys.readouterr().err

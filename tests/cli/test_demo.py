import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from edgerec.cli import main
from edgerec.cli.demo import demo_config
from edgerec.cli.process import SIGNALS
from edgerec.store.archive.verify import verify
from edgerec.store.root import StorageRoot
from tests.rigs.made_recordings import audio
from tests.rigs.waiting import PATIENCE_S

RATE = 16_000
SPEECH_DBFS = -35.0  # the room's noise is 30 dB below, the bot's echo 10 dB


def level_dbfs(samples):
    return 20 * np.log10(max(np.sqrt(np.mean(samples.astype(float) ** 2)), 1) / 32_768)


@pytest.fixture(autouse=True)
def _handlers_restored():
    """The command runs in this process, and takes its signals."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_the_demo_hears_both_speakers_within_5_seconds_and_lists_what_it_wrote(
    tmp_path, capsys, figures
):
    root = tmp_path / "demo"
    assert main(["demo", "--seconds", "5.5", "--out", str(root), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["root"] == str(root)
    assert [(one["kind"], one["frames"]) for one in printed["files"]] == [
        ("chunk", 5 * RATE),
        ("chunk", RATE // 2),
        ("session", 5.5 * RATE),
    ]
    report = verify(root)
    assert (report.ok, report.sessions, report.files) == (True, 1, 2)
    chunk = np.frombuffer(audio(printed["files"][0]["file"]), "<i2").reshape(-1, 2)
    seconds = chunk.reshape(5, RATE, 2)
    for track in range(2):
        # On a machine that takes seconds to start, another part of the conversation.
        quieter_db = SPEECH_DBFS - max(level_dbfs(second[:, track]) for second in seconds)
        figures.note("a speaker of the demo below speech", max(quieter_db, 0), "dB", limit=0)


def test_a_demo_is_recorded_as_a_named_configuration_says_but_of_virtual_devices(tmp_path, capsys):
    file = tmp_path / "edgerec.yaml"
    file.write_text(
        "recording: {chunk_seconds: 0.5, num_channels: 1, format: flac, auto_start: false}\n"
        "tracks: {user: {device: none such}, bot: {source: none}}\n"
        "storage: {root: /nowhere/at/all}\n"
    )
    options = ["--seconds", "1", "--out", str(tmp_path / "demo"), "--config", str(file)]
    assert main(["demo", "--json", *options]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert [one["frames"] for one in files] == [RATE // 2, RATE // 2, RATE]
    assert verify(tmp_path / "demo").ok
    (first, *_) = (tmp_path / "demo" / "ready").rglob("*_000000_chunk.json")
    assert json.loads(first.read_text())["format"] == {
        "container": "flac",
        "codec": "flac",
        "sample_rate": RATE,
        "channels": ["mix"],
    }


def test_an_interrupted_demo_is_done(tmp_path):
    command = [sys.executable, "-m", "edgerec", "demo", "--out", str(tmp_path / "demo")]
    demo = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert "recording a virtual kiosk for 20 s" in demo.stderr.readline()
    demo.send_signal(signal.SIGINT)
    said, _ = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 0
    assert f"check them with: edgerec verify {tmp_path / 'demo'}" in said
    assert verify(tmp_path / "demo").ok


def test_a_demo_where_another_process_records_says_so(tmp_path, capsys):
    with StorageRoot(tmp_path / "demo"):
        assert main(["demo", "--out", str(tmp_path / "demo")]) == 1
    assert "holds it" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "1e9", "long"])
def test_a_demo_of_no_sensible_length_is_a_wrong_command_line(seconds, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["demo", f"--seconds={seconds}"])
    assert exit_.value.code == 2
    assert "--seconds" in capsys.readouterr().err


def test_the_demos_devices_are_as_far_apart_as_real_ones(tmp_path):
    tracks = demo_config(tmp_path).tracks
    assert tracks.user.simulate.seed == tracks.bot.simulate.seed  # one room
    assert abs(tracks.user.simulate.drift_ppm - tracks.bot.simulate.drift_ppm) > 50

"""`edgerec run` as a process: what it says when something is wrong, and how it ends when asked."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgerec.cli import process
from edgerec.cli.process import Interruption
from edgerec.service.control.client import ServiceConnection
from edgerec.store.archive.verify import verify
from edgerec.store.root import StorageRoot
from tests.rigs.run_process import Run, files
from tests.rigs.waiting import PATIENCE_S


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    yield run
    if run.process is not None:
        run.kill()


def test_sighup_has_the_configuration_read_again_and_the_recording_goes_on(run):
    run.start()
    run.wait_for("ready/**/*_000000_chunk.wav")
    good = run.file.read_text()
    run.file.write_text(good.replace("chunk_seconds: 0.5", "chunk_seconds: 0.25"))
    run.process.send_signal(signal.SIGHUP)
    run.wait_to_hear("the configuration is reloaded changed=recording.chunk_seconds")
    run.file.write_text(good + "recordin: {}\nturns: {pre_roll_s: -1}\n")
    run.process.send_signal(signal.SIGHUP)
    run.wait_to_hear("configuration refused, the previous one stays in effect")
    run.file.write_text(good.replace(str(run.root), str(run.root) + "2"))
    run.process.send_signal(signal.SIGHUP)
    run.wait_to_hear("storage.root: can't change while the service runs")
    run.process.terminate()
    assert run.finish()[0] == 0
    reasons = [
        json.loads(path.read_text())["end_reason"]
        for path in sorted(run.root.glob("ready/**/*_chunk.json"))
    ]
    assert "reload" in reasons
    assert verify(run.root).ok


@pytest.mark.parametrize("text", [None, "", "# nothing yet\n", "kiosk_id: lobby", "kiosk_id: k\n"])
def test_a_service_is_not_started_by_a_file_that_is_missing_empty_or_cut_short(run, text):
    run.file.unlink() if text is None else run.file.write_text(text)
    run.start()
    status, said = run.finish()
    assert status == 78
    assert str(run.file) in said
    assert not run.root.exists()


def test_without_any_file_nothing_is_recorded_and_it_is_said_what_to_do(tmp_path):
    script = (
        "import sys; from pathlib import Path; from edgerec import cli; from edgerec.config import"
        " load; load.DEFAULT_FILE = Path(sys.argv[1]); sys.exit(cli.main(['run']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "none.yaml")],
        env={name: value for name, value in os.environ.items() if name != "EDGEREC_CONFIG"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 78
    assert "there is no configuration; name one by --config" in done.stderr


@pytest.mark.parametrize("text", [None, "", "kiosk_id: lobby\n"])
def test_a_reload_without_its_file_changes_nothing_and_is_told_in_the_status(run, text):
    with run.file.open("a") as file:
        file.write(f"control: {{socket: {run.file.parent}/control.sock}}\n")
    whole = run.file.read_text()
    run.start()
    run.wait_for("ready/**/*_000000_chunk.wav")
    run.file.unlink() if text is None else run.file.write_text(text)
    run.process.send_signal(signal.SIGHUP)
    run.wait_to_hear("configuration refused, the previous one stays in effect")
    with ServiceConnection([run.file.parent / "control.sock"]) as service:
        assert "config" in {one["code"] for one in service.request("status", {})["reasons"]}
        run.file.write_text(whole)
        service.request("reload", {})
        assert "config" not in {one["code"] for one in service.request("status", {})["reasons"]}
    assert "reloaded changed=nothing" in run.end()
    assert {Path(path).parts[-3] for path in files(run.root, "ready/**/*.wav")} == {"kiosk=k1"}


def test_two_recorders_on_one_machine_are_each_reached_by_their_own_commands(tmp_path):
    """Each with a folder of its user's, as the README's walk-through; no socket is named."""
    ones = []
    try:
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            ones.append(Run(tmp_path / name))
            ones[-1].start()
        for one in ones:
            one.wait_for("ready/**/*_000000_chunk.wav")
        assert edgerec(ones[0], "pause") == (0, "paused\n")
        assert [edgerec(one, "status")[1].partition(" for")[0] for one in ones] == [
            "k1: ok, paused",
            "k1: ok, recording",
        ]
        for one in ones:
            one.end()
        status, said = edgerec(ones[0], "status")
        assert status == 1
        assert f"no service at {tmp_path}/one/edgerec/control.sock" in said
        assert "nor at /run/edgerec/control.sock" in said
    finally:
        for one in ones:
            one.kill()


def edgerec(run, command):
    """Give a command as the user of a recorder; return its status and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "edgerec", command, "--config", str(run.file)],
        env=run.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode, done.stdout


FAILING = """
import sys
from edgerec.cli import main
from edgerec.service.{module} import {owner}
def fail(*arguments):
    raise RuntimeError("a bug")
{owner}.{method} = fail
sys.exit(main(["run", "--config", sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("module", "owner", "method"),
    [
        ("control.server", "Control", "step"),
        ("metrics", "MetricsFile", "write"),
        ("watchdog", "Supervisor", "look"),
        ("reload", "Reloader", "_run"),
    ],
)
def test_a_service_that_lacks_a_thread_ends_with_status_1(run, tmp_path, module, owner, method):
    with run.file.open("a") as file:
        file.write(f"control: {{socket: {tmp_path}/control.sock}}\n")
        file.write(f"metrics: {{textfile: {tmp_path}/edgerec.prom}}\n")
    code = FAILING.format(module=module, owner=owner, method=method)
    run.process = subprocess.Popen(
        [sys.executable, "-c", code, str(run.file)], stderr=subprocess.PIPE, text=True
    )
    status, said = run.finish()
    assert status == 1
    assert "CRITICAL edgerec.session.threads: a thread has failed" in said
    assert said.endswith("RuntimeError: a bug\n")
    assert files(run.root, ".work/*") == []
    assert verify(run.root).ok


def test_sigterm_publishes_everything_and_ends_with_status_0(run):
    run.start()
    run.wait_for("ready/**/*_000001_chunk.wav")
    run.process.terminate()
    status, said = run.finish()
    assert status == 0
    assert "stopping signal=SIGTERM" in said
    assert len(files(run.root, "ready/**/*_session.json")) == 1
    assert files(run.root, ".work/*") == []
    assert verify(run.root).ok


def test_a_device_that_can_not_be_started_is_told_and_the_other_track_recorded(tmp_path, run):
    run.file.write_text(
        run.file.read_text().replace(
            "user: {source: simulated}",
            "user: {device: no-such-microphone}",
        )
    )
    run.start()
    run.wait_for("ready/**/*_000001_chunk.wav")
    run.process.terminate()
    status, said = run.finish()
    assert status == 0
    assert "track is silent track=user reason=absent why=" in said
    assert "no-such-microphone" in said
    assert verify(run.root).ok


def test_metrics_are_there_while_it_runs(tmp_path, run):
    textfile = run.root / "edgerec.prom"  # the root is made by then
    run.file.write_text(run.file.read_text() + f"metrics: {{textfile: {textfile}}}\n")
    run.start()
    run.wait_for("edgerec.prom")
    assert "edgerec_info{version=" in textfile.read_text()
    run.process.terminate()
    assert run.finish()[0] == 0
    assert not textfile.exists()


def test_a_second_recorder_says_who_holds_the_root_and_harms_nothing(tmp_path, run):
    with StorageRoot(run.root):
        run.start()
        status, said = run.finish()
    assert status == 1
    assert str(run.root / ".state" / "lock") in said
    assert f"process {os.getpid()} holds it" in said
    assert files(run.root, "ready/**/*") == []


def test_a_root_whose_parent_is_missing_is_named(tmp_path):
    run = Run(tmp_path, root=tmp_path / "not-mounted" / "root")
    run.start()
    status, said = run.finish()
    assert status == 1
    assert f"making the folder {run.root}: there is no {run.root.parent}; make it first" in said
    assert not run.root.parent.exists()


def test_a_root_among_sources_is_refused_and_nothing_is_left_in_it(tmp_path):
    root = tmp_path / "checkout"
    root.mkdir()
    (root / "README.md").touch()
    run = Run(tmp_path, root=root)
    run.start()
    status, said = run.finish()
    assert status == 1
    assert f"using {root}: it holds 'README.md'; give storage.root a folder of its own" in said
    assert f"the storage root is shared: storage.root: {root} holds 'README.md'" in said
    assert [path.name for path in root.iterdir()] == ["README.md"]


def test_a_root_that_can_not_be_written_is_named(tmp_path):
    run = Run(tmp_path, root=Path("/proc/edgerec"))  # nobody may, not even root
    run.start()
    status, said = run.finish()
    assert status == 1
    assert "making the folder /proc/edgerec: " in said


def test_a_file_in_the_way_of_what_is_published_is_named_and_costs_nothing(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "ready").write_text("a file")
    run = Run(tmp_path, root=root)
    run.start()
    run.wait_to_hear(f"making the folder {root / 'ready'}: File exists")
    run.wait_to_hear("nothing can be published, files wait in .work")
    assert (root / "ready").read_text() == "a file"
    (root / "ready").unlink()
    run.process.terminate()
    status, _ = run.finish()
    assert status == 0
    assert verify(root).ok
    assert list((root / ".work").iterdir()) == []


def test_a_configuration_that_can_not_be_read_ends_with_status_78(tmp_path, run):
    run.file.unlink()
    run.file.mkdir()
    run.start()
    status, said = run.finish()
    assert status == 78
    assert str(run.file) in said


def test_every_mistake_of_a_configuration_is_told_before_anything_is_made(tmp_path):
    run = Run(tmp_path, more="recordin: {}\nturns: {pre_roll_s: -1}\n")
    run.start()
    status, said = run.finish()
    assert status == 78
    assert "recordin" in said
    assert "turns.pre_roll_s" in said
    assert not run.root.exists()


def test_a_disk_that_fails_and_works_again_costs_nothing(run):
    run.start()
    run.wait_for("ready/**/*_000001_chunk.wav")
    # Its next chunk finds no folder to be made in.
    (run.root / ".work").rename(run.root / "moved")
    run.wait_to_hear("disk error; buffering in memory")
    (run.root / "moved").rename(run.root / ".work")
    run.wait_to_hear("the disk works again")
    run.process.terminate()
    status, _ = run.finish()
    assert status == 0
    assert verify(run.root).ok
    [record] = files(run.root, "ready/**/*_session.json")
    assert json.loads(record.read_text())["losses"] == {}


def test_a_disk_that_still_fails_at_the_end_is_told_by_status_1(run):
    run.start()
    run.wait_for("ready/**/*_000001_chunk.wav")
    (run.root / ".work").rename(run.root / "moved")
    run.wait_to_hear("disk error; buffering in memory")
    run.process.terminate()
    status, said = run.finish()
    assert status == 1
    assert "recording ended why=" in said
    assert str(run.root / ".work") in said
    assert verify(run.root / "ready").ok


def test_what_a_kill_has_left_is_published_by_the_next_start_which_says_what_was_lost(run):
    run.start()
    run.wait_for("ready/**/*_000001_chunk.wav")
    run.process.kill()
    run.finish()
    run.start()
    run.wait_to_hear("previous session ended by a crash")
    run.wait_for("ready/**/*_session.json")
    run.wait_for(".work/*_chunk.wav")  # beside which the next session has begun
    run.process.terminate()
    status, _ = run.finish()
    assert status == 0
    assert verify(run.root).ok
    assert len(files(run.root, "ready/**/*_session.json")) == 2
    assert files(run.root, ".work/*") == files(run.root, "quarantine/*") == []


@pytest.mark.parametrize("number", process.SIGNALS)
def test_a_signal_that_comes_before_there_is_something_to_stop_is_kept(handlers_restored, number):
    stopped = []
    asked = Interruption()
    signal.raise_signal(number)
    asked.stops(stopped.append)
    assert stopped == [number]
    signal.raise_signal(number)
    assert stopped == [number, number]


def ask(run, command):
    """Run a command against the service; return its exit status."""
    arguments = [sys.executable, "-m", "edgerec", command, "--socket", str(run.socket)]
    return subprocess.run(arguments, timeout=PATIENCE_S, capture_output=True).returncode


def test_a_service_that_waits_for_a_start_records_what_it_is_told_to(tmp_path):
    run = Run(
        tmp_path,
        recording="auto_start: false",
        more=f"control: {{socket: {tmp_path / 'c.sock'}}}\n",
    )
    run.socket = tmp_path / "c.sock"
    run.start()
    try:
        run.wait_to_hear("waiting for a start")
        assert ask(run, "pause") == 1
        for number in (0, 1):
            assert ask(run, "start") == 0
            run.wait_to_hear("session begins")
            assert ask(run, "pause") == 0
            assert ask(run, "resume") == 0
            assert ask(run, "rotate") == 0
            assert ask(run, "stop") == 0
            run.wait_to_hear("published kind=session")
            assert len(files(run.root, "ready/**/*_session.json")) == number + 1
        run.process.terminate()
        status, _ = run.finish()
    finally:
        run.kill()
    assert status == 0
    assert verify(run.root).ok
    assert files(run.root, ".work/*") == []

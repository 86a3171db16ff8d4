"""Every example under docs/examples is run, against a real `edgerec run` and its recordings."""

import json
import os
import re
import subprocess
import sys
import threading
import wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

import edgerec
from edgerec.store.archive.verify import verify
from tests import CHECKOUT
from tests.rigs.feed_rig import level
from tests.rigs.run_process import Run
from tests.rigs.waiting import PATIENCE_S, wait_for

ROOT = CHECKOUT
EXAMPLES = ROOT / "docs" / "examples"
RATE = 16_000


def example(name, *arguments, stdin=None):
    """Run an example to its end; return what it printed."""
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


class Archive(BaseHTTPRequestHandler):
    """A server that takes uploads."""

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken[Path(self.path).name] = body
        self.send_response(201)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def archive():
    with ThreadingHTTPServer(("127.0.0.1", 0), Archive) as server:
        server.taken = {}
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


one_kiosk = pytest.mark.xdist_group("one kiosk")


@pytest.fixture(scope="module")
def service(tmp_path_factory, archive):
    """A kiosk that uploads by a hook."""
    folder = tmp_path_factory.mktemp("kiosk")
    upload = [sys.executable, str(EXAMPLES / "upload.py"), "{path}", "{sidecar}"]
    hook = json.dumps([*upload, f"http://127.0.0.1:{archive.server_port}/in"])
    socket = folder / "control.sock"
    run = Run(folder, more=f"control: {{socket: {socket}}}\nhooks: {{on_chunk: {hook}}}\n")
    run.socket = socket
    run.start()
    run.wait_to_hear("recording root=")
    yield run
    run.kill()


@pytest.fixture(scope="module")
def recorded(service):
    """What the kiosk has recorded, after all that is done with it while it records."""
    run = service
    run.wait_for("ready/*/*/*_000002_chunk.ack")
    run.end()
    return run.root


@one_kiosk
def test_live_speech_is_transcribed_as_it_is_heard(service):
    tap = subprocess.Popen(
        [sys.executable, "-m", "edgerec", "tap", "user", "--wav", "--socket", service.socket],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    stt = [sys.executable, EXAMPLES / "stt.py"]
    transcriber = subprocess.Popen(
        [sys.executable, EXAMPLES / "transcribe.py", *stt],
        stdin=tap.stdout,
        stdout=subprocess.PIPE,
    )
    tap.stdout.close()  # ours: it ends when the tap does
    assert transcriber.stdout.readline().startswith(b"heard ")
    tap.terminate()
    assert tap.wait(PATIENCE_S) == 0
    transcriber.communicate(timeout=PATIENCE_S)
    assert transcriber.returncode == 0


@one_kiosk
def test_a_running_kiosk_is_followed(service):
    follow = subprocess.Popen(
        [sys.executable, EXAMPLES / "follow.py", service.socket],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    told = next(line for line in follow.stdout if line.startswith("chunk "))
    assert re.search(r" sequence=\d+ .*end_reason=full", told), told
    follow.kill()
    follow.communicate(timeout=PATIENCE_S)


def test_utterances_are_cut_at_pauses(tmp_path):
    with wave.open(str(tmp_path / "speech.wav"), "wb") as wav:
        wav.setparams((1, 2, RATE, 0, "NONE", ""))
        for seconds in (1.0, 2.0):
            wav.writeframes(bytes(RATE * 2) + level(seconds) + bytes(RATE * 2))
    stt = [sys.executable, EXAMPLES / "stt.py"]
    said = example("transcribe.py", *stt, stdin=(tmp_path / "speech.wav").read_bytes())
    assert said.splitlines() == ["heard 1.7 s of speech", "heard 2.7 s of speech"]


@one_kiosk
def test_every_file_is_uploaded_by_the_hook_and_acknowledged(service, archive):
    wait_for(lambda: len(archive.taken) >= 6)
    service.wait_for("ready/*/*/*_000002_chunk.ack")
    sent = {name: body for name, body in archive.taken.items() if name.endswith(".wav")}
    for name, body in list(sent.items())[:3]:
        (path,) = service.root.rglob(name)
        assert path.read_bytes() == body
        assert path.with_suffix(".json").name in archive.taken


@one_kiosk
def test_a_day_of_sidecars_is_read_as_one_table(recorded):
    day = max(path.parent.name for path in recorded.rglob("*_chunk.json"))
    printed = example("day.py", recorded / "ready", day.removeprefix("date="))
    assert "k1" in printed
    for column in ("minutes", "loudest_user_dbfs", "apart_ppm", "reason"):
        assert column in printed


@one_kiosk
def test_a_session_becomes_one_file_with_silence_where_a_chunk_is_missing(recorded, tmp_path):
    sidecars = sorted(recorded.rglob("*_chunk.json"))
    chunks = [json.loads(path.read_text()) for path in sidecars]
    out = tmp_path / "session.wav"
    example("session.py", recorded / "ready", chunks[0]["session"], out)
    with wave.open(str(out)) as wav:
        assert wav.getnframes() == sum(chunk["frames"] for chunk in chunks)
        whole = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
    with wave.open(str(sidecars[1].with_suffix(".wav"))) as wav:
        second = np.frombuffer(wav.readframes(wav.getnframes()), "<i2")
    start = chunks[1]["start_frame"] * 2
    assert np.array_equal(whole[start : start + len(second)], second)
    assert lacking(recorded, tmp_path, sidecars, chunks, missing=1) == len(whole) // 2


def lacking(recorded, folder, sidecars, chunks, missing):
    """Put the same session together as if one chunk had never been written; return its frames."""
    for path, chunk in zip(sidecars, chunks, strict=True):
        if chunk["sequence"] == missing:
            continue
        copy = folder / path.relative_to(recorded)
        copy.parent.mkdir(parents=True, exist_ok=True)
        before = chunks[missing]["frames"] if chunk["sequence"] == missing + 1 else 0
        copy.write_text(json.dumps({**chunk, "missing_before": before}))
        copy.with_suffix(".wav").symlink_to(path.with_suffix(".wav"))
    out = folder / "lacking.wav"
    example("session.py", folder / "ready", chunks[0]["session"], out)
    with wave.open(str(out)) as wav:
        return wav.getnframes()


def test_an_assistant_feeds_its_speech_and_is_told_of_the_turns_it_marks(tmp_path):
    run = Run(tmp_path)
    run.file.write_text(
        "kiosk_id: k1\n"
        "recording: {enable_turn_audio: true, auto_start: false}\n"
        "tracks: {user: {source: simulated}, bot: {source: feed}}\n"
        f"storage: {{root: {run.root}, utc_wait_s: 0}}\n"
    )
    said = example("assistant.py", run.file).splitlines()
    (heard,) = [line for line in said if line.startswith("heard ")]
    seconds, text = re.fullmatch(r"heard (\S+) s: '(.+)'", heard).groups()
    assert 0.9 < float(seconds) < 3.1 and text.startswith("The next train")
    said.remove(heard)
    assert len(said) == 3
    for line in said:
        _number, seconds, size = re.fullmatch(r"turn (\d+): (\S+) s, (\d+) bytes", line).groups()
        assert float(seconds) > 0.5 and int(size) == pytest.approx(
            float(seconds) * 32_000, abs=3200
        )
    assert verify(run.root).ok


def test_a_program_that_comes_from_pipecat_records(tmp_path):
    run = Run(tmp_path)
    for seconds in (5, 20, 60):  # of which a busy machine takes some to start
        folder = tmp_path / str(seconds)
        folder.mkdir()
        printed = example("migrated.py", run.file, folder, seconds)
        if len(printed.splitlines()) >= 2:
            break
    assert re.fullmatch(r"(user (\d+) bytes, bot \2 bytes\n){2,}", printed)
    assert len(list(folder.glob("conversation_*.wav"))) == len(printed.splitlines())
    assert verify(run.root).ok


def test_what_the_page_for_pipecat_s_users_shows_is_in_the_example():
    page = (ROOT / "docs" / "from-pipecat.md").read_text()
    (shown,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    code = (EXAMPLES / "migrated.py").read_text().replace("\n    ", "\n")
    for line in shown.splitlines():
        assert line in code.splitlines(), line


def test_the_ten_lines_of_the_readme_record_and_stop(tmp_path):
    readme = (ROOT / "README.md").read_text()
    (script,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert len([line for line in script.splitlines() if line]) <= 12
    run = Run(tmp_path)
    text = run.file.read_text().replace("{chunk_seconds", "{enable_turn_audio: true, chunk_seconds")
    (tmp_path / "kiosk.yaml").write_text(text)
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"turn \d+: \d+\.\d s\n", done.stdout)
    assert verify(run.root).ok
    assert list(run.root.rglob("*_session.json"))


def test_every_example_is_named_here():
    tests = Path(__file__).read_text()
    for path in EXAMPLES.iterdir():
        assert f'"{path.name}"' in tests, path.name


def test_the_reference_is_made_without_a_warning_and_has_every_public_name(tmp_path):
    done = subprocess.run(
        [ROOT / "scripts" / "reference", tmp_path],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "edgerec.html").read_text()
    for name in edgerec.__all__:
        assert f'id="{name}"' in page, name


def test_every_public_method_and_value_is_described():
    for name in edgerec.__all__:
        public = getattr(edgerec, name)
        assert public.__doc__, name
        members = vars(public) if isinstance(public, type) else {}
        for member, value in members.items():
            described = callable(value) or isinstance(value, property)
            if described and not member.startswith("_"):
                assert value.__doc__, f"{name}.{member}"

"""`edgerec feed` into a real `edgerec run`, and what it says when that can't be."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import wave
from pathlib import Path

import numpy as np
import pytest

from edgerec.wire.messages import error_line, result_line
from tests.rigs import deaths
from tests.rigs.feed_rig import level, sounding
from tests.rigs.waiting import PATIENCE_S, wait_for

RATE = 16_000

CONFIG = """
kiosk_id: k1
tracks: {{user: {{source: simulated}}, bot: {{source: {bot}}}}}
storage: {{root: {root}}}
control: {{socket: {socket}}}
"""


def edgerec(*arguments):
    return [sys.executable, "-m", "edgerec", *map(str, arguments)]


def feed(*arguments, pushed=b""):
    """Run `edgerec feed`; return its exit status and what it complained of."""
    done = subprocess.run(
        edgerec("feed", *arguments), input=pushed, capture_output=True, timeout=PATIENCE_S
    )
    return done.returncode, done.stderr.decode()


class Run:
    """A real `edgerec run`, with a simulated user and a bot as told."""

    def __init__(self, folder, bot="feed", socket_path=None):
        self.folder = folder
        self.socket = socket_path or folder / "control.sock"
        self.config = folder / "kiosk.yaml"
        self.config.write_text(
            CONFIG.format(root=folder / "root", socket=self.socket, bot=bot), encoding="utf-8"
        )
        self.process = subprocess.Popen(
            edgerec("run", "--config", self.config), stderr=subprocess.PIPE, text=True
        )
        deaths.watch_process("edgerec run", self.process)
        self._until("recording root=")

    def _until(self, text):
        for line in self.process.stderr:
            if text in line:
                return
        raise AssertionError(f"edgerec run ended without saying {text!r}")

    def until_recording(self):
        """Wait until the session has begun: the user's device delivers."""
        self._until("track delivers track=user")
        wait_for(lambda: self.ask("status")["recording"], look_s=0.05)

    def ask(self, command, **args):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.socket))
            request = {"id": 1, "command": command, "args": args}
            client.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(client.makefile().readline())["result"]

    def stop(self):
        """End it; return its exit status."""
        deaths.forget(self.process)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode

    def kill(self):
        deaths.forget(self.process)
        self.process.kill()
        self.process.communicate()

    def recorded(self):
        """Return the samples (frames, tracks) and the sidecar of the only chunk."""
        (path,) = (self.folder / "root").rglob("*_chunk.wav")
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return samples.reshape(-1, 2), json.loads(path.with_suffix(".json").read_text())


@pytest.fixture
def run(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(**how):
            started = Run(tmp_path, **how)
            stack.callback(started.kill)
            return started

        yield start


def write_wav(path, seconds, rate):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(level(seconds, rate))
    return path


def test_who_is_connected_is_running_beside_a_live_user(run):
    service = run()
    service.until_recording()
    raw = ["--socket", service.socket, "--rate", RATE]
    with subprocess.Popen(edgerec("feed", "bot", "-", *raw), stdin=subprocess.PIPE) as client:
        client.stdin.write(level(0.1))
        client.stdin.flush()

        def are_running():
            tracks = service.ask("status")["tracks"]
            return {tracks[name]["state"] for name in ("user", "bot")} == {"running"}

        wait_for(are_running, look_s=0.05)
        client.stdin.close()
        assert client.wait(PATIENCE_S) == 0
    assert service.stop() == 0


def test_what_is_cleared_over_the_socket_is_not_recorded(run):
    service = run()
    service.until_recording()
    raw = ["--socket", service.socket, "--rate", RATE]
    assert feed("bot", "-", *raw, pushed=level(20.0)) == (0, "")
    wait_for(lambda: service.ask("played", track="bot")["frames"] > RATE, look_s=0.05)
    cleared = service.ask("clear", track="bot")
    assert cleared["frames"] + cleared["dropped"] == cleared["position"] == 20 * RATE
    assert service.ask("status")["tracks"]["bot"]["fed"]["dropped"] == cleared["dropped"]
    assert service.stop() == 0
    recorded, _ = service.recorded()
    ((start, stop),) = sounding(recorded[:, 1])
    assert abs(stop - start - cleared["frames"]) <= 1


def test_what_applications_push_is_recorded_whole_beside_a_live_user(run, tmp_path, figures):
    service = run()
    service.until_recording()
    file = write_wav(tmp_path / "tts.wav", 1.5, 24_000)
    assert feed("bot", file, "--config", service.config) == (0, "")
    # The second one queues behind the first, which plays on.
    raw = ["--socket", service.socket, "--rate", 44_100, "--channels", 2]
    assert feed("bot", "-", *raw, pushed=level(0.75, 44_100, 2)) == (0, "")
    code, complaint = feed("bot", "-", *raw, pushed=level(0.1, 44_100, 2)[:-1])
    assert code == 1
    assert "inside a frame" in complaint

    def is_idle():
        return service.ask("status")["tracks"]["bot"]["state"] == "idle"

    wait_for(is_idle, look_s=0.05)
    assert service.stop() == 0
    assert not service.socket.exists()
    samples, sidecar = service.recorded()
    heard = sounding(samples[:, 1])
    # 0.1 s less its last, broken frame. Each of the three is good to a frame, and so is what an
    # application that the machine holds up says in pieces.
    expected = (1.5 + 0.75 + 0.1) * RATE
    assert sum(stop - start for start, stop in heard) == pytest.approx(expected, abs=3 + len(heard))
    assert sidecar["tracks"]["bot"]["gaps"] == []
    gaps = sidecar["tracks"]["user"]["gaps"]
    lost_s = sum(gap["frames"] for gap in gaps if gap["frames"] > 2) / RATE
    figures.note("missing of a virtual device beside a feed", lost_s, "s", limit=0.0)


def test_without_a_place_for_the_socket_devices_are_recorded_all_the_same(run, tmp_path):
    service = run(bot="simulated", socket_path=tmp_path / "missing" / "control.sock")
    assert service.stop() == 0


def test_without_a_place_for_the_socket_a_feed_can_not_run(tmp_path):
    config = tmp_path / "kiosk.yaml"
    missing = tmp_path / "missing" / "control.sock"
    config.write_text(CONFIG.format(root=tmp_path / "root", socket=missing, bot="feed"))
    done = subprocess.run(
        edgerec("run", "--config", config), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 1
    assert f"the folder {missing.parent} does not exist" in done.stderr


@pytest.fixture
def service(tmp_path):
    """A service that takes one feed and then does as the test says."""
    path = Path(tmp_path / "control.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def play(part):
            def serve():
                with listener.accept()[0] as client:
                    client.makefile("rb").readline()
                    part(client)

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            return thread

        yield path, play


def test_a_refusal_is_told_with_its_hint(service):
    path, play = service
    play(lambda client: client.sendall(error_line(1, "busy", "somebody is there", "wait")))
    assert feed("bot", "-", "--socket", path) == (1, "edgerec feed: somebody is there; wait\n")


def test_a_refusal_in_the_middle_is_told_too(service):
    path, play = service

    def refuse(client):
        client.sendall(result_line(1, {}))
        client.recv(100_000)
        client.sendall(error_line(None, "malformed", "no such block", "look it up"))

    play(refuse)
    endless = level(120.0)
    code, complaint = feed("bot", "-", "--socket", path, "--rate", RATE, pushed=endless)
    assert (code, complaint) == (1, "edgerec feed: no such block; look it up\n")


def test_a_service_that_vanishes_is_told(service):
    path, play = service
    play(lambda client: client.sendall(result_line(1, {})))
    code, complaint = feed("bot", "-", "--socket", path, "--rate", RATE, pushed=level(60.0))
    assert code == 1
    assert complaint.startswith("edgerec feed: ")
    assert "Traceback" not in complaint


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["bot", "-", "--socket", "/nowhere/control.sock"], 1, "no service at /nowhere"),
        (
            ["bot", "/no/such.wav", "--socket", "/nowhere/x.sock"],
            1,
            "reading /no/such.wav: No",
        ),
        (["bot", "-", "--channels", "2"], 2, "needs --rate"),
        (["both", "-"], 2, "invalid choice"),
        (["bot"], 2, "FILE"),
        (["bot", "-", "--rate", "100", "--socket", "/nowhere/x.sock"], 2, "4000 to 384000"),
        (["bot", "-", "--rate", "8000", "--channels", "0"], 2, "1 to 64"),
    ],
)
def test_what_can_not_be_fed_is_told(arguments, status, says):
    code, complaint = feed(*arguments)
    assert code == status
    assert says in complaint

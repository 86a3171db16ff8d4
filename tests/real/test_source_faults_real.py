"""A sound server that swaps a source for another, is killed, or stands still."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from edgerec.store.verify import verify

pytestmark = pytest.mark.real

RATE = 16_000
PATIENCE_S = 40.0
REMAP = "module-remap-source"
MIC = ("source_name=kiosk_mic", "master=kiosk_mic_feed.monitor", "remix=no")
CPU_SHARE = 0.5  # of one core, at most, on average; a thread that spins takes all of it


class Kiosk:
    """A recorder of both virtual devices: a tone is played, and the microphone hears nothing."""

    def __init__(self, server, folder):
        self._server = server
        self._socket = folder / "control.sock"
        self.root = folder / "root"
        config = folder / "edgerec.yaml"
        config.write_text(
            "tracks:\n"
            "  user: {device: 'pulse:kiosk_mic'}\n"
            "  bot: {device: 'pulse:kiosk_speaker.monitor', channels: 2}\n"
            f"storage: {{root: {self.root}}}\n"
            f"control: {{socket: {self._socket}}}\n"
        )
        tone = folder / "tone.wav"
        sound = ["synth", "300", "sine", "440", "vol", "0.5"]
        subprocess.run(["sox", "-n", "-r", "48000", "-c", "2", tone, *sound], check=True)
        self.player = server.play(tone, sink="kiosk_speaker")
        self.recorder = subprocess.Popen(
            [sys.executable, "-m", "edgerec", "run", "--config", str(config)],
            env=os.environ | server.env,
            stderr=subprocess.DEVNULL,
        )

    def status(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE_S)
            client.connect(str(self._socket))
            client.sendall(b'{"id": 1, "command": "status"}\n')
            with client.makefile() as answers:
                return json.loads(answers.readline())["result"]

    def wait(self, condition):
        """Wait until the status is as a condition wants it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                status = self.status()
            except OSError:
                status = None  # it has only just begun
            if status is not None and condition(status):
                return status
            assert time.monotonic() < deadline, status
            time.sleep(0.1)

    def wait_for(self, **states):
        return self.wait(
            lambda status: (
                status["recording"]
                and all(status["tracks"][track]["state"] == s for track, s in states.items())
            )
        )

    def finish(self):
        """Stop it; return the gaps of each track, and both channels' samples."""
        self.recorder.terminate()
        assert self.recorder.wait(PATIENCE_S) == 0
        assert verify(self.root).ok
        (sidecar,) = self.root.glob("ready/**/*_chunk.json")
        tracks = json.loads(sidecar.read_text())["tracks"]
        raw = sidecar.with_suffix(".wav").read_bytes()[704:]
        samples = memoryview(raw).cast("h")
        return {name: track["gaps"] for name, track in tracks.items()}, samples

    def close(self):
        for process in (self.recorder, self.player):
            process.kill()
            process.wait()


@pytest.fixture
def kiosk(sound_server, tmp_path):
    kiosk = Kiosk(sound_server, tmp_path)
    yield kiosk
    kiosk.close()


def test_a_source_that_goes_is_a_gap_and_not_another_source_and_the_other_track_is_untouched(
    kiosk, sound_server
):
    kiosk.wait_for(user="running", bot="running")
    time.sleep(2.0)
    began = round(kiosk.status()["session_seconds"] * RATE)
    for _ in range(2):
        sound_server.pactl("unload-module", REMAP)
        status = kiosk.wait_for(user="absent")
        assert status["state"] == "degraded"
        time.sleep(1.0)
        sound_server.pactl("load-module", REMAP, *MIC)
        kiosk.wait_for(user="running", bot="running")
        time.sleep(2.0)
    gaps, samples = kiosk.finish()
    # PulseAudio would have moved it to the microphone that came back. What a stream loses at its
    # very beginning, while it is pinned, is another matter.
    assert [gap for gap in gaps["bot"] if gap["start_frame"] + gap["frames"] > began] == []
    assert {gap["reason"] for gap in gaps["user"]} <= {"source", "absent"}
    assert sum(gap["frames"] for gap in gaps["user"]) > RATE
    user = samples[::2].tolist()
    # The tone that the swapped stream heard: in no frame of the user's track.
    assert max(user) - min(user) < 300
    assert max(samples[1::2].tolist()) > 10_000


def test_a_server_that_is_killed_and_started_again_is_recorded_again(kiosk, sound_server):
    kiosk.wait_for(user="running", bot="running")
    sound_server.kill()
    kiosk.wait_for(user="absent", bot="absent")
    assert kiosk.status()["state"] == "failed"
    sound_server.start()
    kiosk.wait_for(user="running", bot="running")
    gaps, _ = kiosk.finish()
    for track in ("user", "bot"):
        assert {gap["reason"] for gap in gaps[track]} <= {"absent", "stall", "source"}
        for gap, following in itertools.pairwise(gaps[track]):
            assert gap["start_frame"] + gap["frames"] <= following["start_frame"]


def test_a_server_that_stands_still_costs_no_cpu_and_is_recorded_again(kiosk, sound_server):
    kiosk.wait_for(user="running", bot="running")
    before, began = kiosk.status()["cpu_seconds"], time.monotonic()
    sound_server.signal(signal.SIGSTOP)
    kiosk.wait_for(user="stalled", bot="stalled")
    time.sleep(20.0)
    frozen = kiosk.status()
    assert frozen["cpu_seconds"] - before < CPU_SHARE * (time.monotonic() - began)
    sound_server.signal(signal.SIGCONT)
    kiosk.wait_for(user="running", bot="running")
    gaps, _ = kiosk.finish()
    assert all(gaps.values())

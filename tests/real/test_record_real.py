"""`edgerec run` on real PortAudio, ALSA and PulseAudio: what was played is what is in the files."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from edgerec.audio import TRACKS
from edgerec.store.verify import verify
from tests.alignment import find, matches, noise
from tests.recordings import audio

pytestmark = pytest.mark.real

RATE = 16_000
DEVICE_RATE = 48_000
SINKS = {"user": "kiosk_mic_feed", "bot": "kiosk_speaker"}
KNOWN_S = 40.0  # by then the devices' clocks are known as well as a sound server lets them be
WINDOW_S = 0.05
LEAST_WHILE_BENDING = 0.9
"""A line that is put right bends by at most `run.MAX_BEND`, 50 us in a window: of sound up to 6 kHz
such a window keeps a correlation of 0.95, with nothing else wrong. Straight lines, off by the tens
of ppm that a sound server leaves open, keep 0.999."""
STARTS_S = 2.0  # the recorder, behind the players
PATIENCE_S = 20.0


class Kiosk:
    """Both virtual devices played into, and a recorder of them.

    Players are there before the recorder and play without a pause, with a latency of their own:
    an idle null sink would deliver in lumps of up to 2 s, whose size changes when one starts.
    """

    def __init__(self, server, folder, heard, lead_s):
        self.root = folder / "root"
        self.heard = heard
        self.config = folder / "edgerec.yaml"
        self.config.write_text(
            "recording: {chunk_seconds: 10}\n"
            "tracks:\n"
            "  user: {device: 'pulse:kiosk_mic'}\n"
            "  bot: {device: 'pulse:kiosk_speaker.monitor', channels: 2}\n"
            f"storage: {{root: {self.root}}}\n"
        )
        command = ["paplay", "--latency-msec=50"]
        self._players = [
            subprocess.Popen(
                [*command, "-d", SINKS[track], write_wav(folder / f"{track}.wav", sound, lead_s)],
                env=os.environ | server.env,
            )
            for track, sound in heard.items()
        ]
        time.sleep(STARTS_S)
        self.recorder = subprocess.Popen(
            [sys.executable, "-m", "edgerec", "run", "--config", str(self.config)],
            env=os.environ | server.env,
            stderr=subprocess.PIPE,
            text=True,
        )

    def child_of(self, track):
        """The process that captures a track."""
        threads = Path(f"/proc/{self.recorder.pid}/task").iterdir()
        pids = [pid for thread in threads for pid in (thread / "children").read_text().split()]
        for pid in pids:
            if f"--track={track}" in Path(f"/proc/{pid}/cmdline").read_text():
                return int(pid)
        raise LookupError(f"no capture child of {track}")

    def stop(self):
        self.recorder.terminate()
        _, said = self.recorder.communicate(timeout=PATIENCE_S)
        assert self.recorder.returncode == 0, said
        assert verify(self.root).ok

    def close(self):
        for process in [self.recorder, *self._players]:
            process.kill()
            process.wait()


def write_wav(path, sound, lead_s):
    """Write a sound at the timeline's rate as a file at the devices', behind silence."""
    spectrum = np.zeros(len(sound) * 3 // 2 + 1, dtype=complex)
    spectrum[: len(sound) // 2 + 1] = np.fft.rfft(sound)
    samples = np.concatenate(
        (np.zeros(round(lead_s * DEVICE_RATE)), 3 * np.fft.irfft(spectrum, len(sound) * 3))
    )
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, DEVICE_RATE, 0, "NONE", ""))
        wav.writeframes(np.rint(samples * 32_767).astype("<i2").tobytes())
    return path


@pytest.fixture
def kiosk(sound_server, tmp_path):
    kiosks = []

    def start(seconds, lead_s):
        heard = {
            track: noise(round(seconds * RATE), RATE, seed) for seed, track in enumerate(TRACKS)
        }
        kiosks.append(Kiosk(sound_server, tmp_path, heard, lead_s))
        return kiosks[-1]

    yield start
    for started in kiosks:
        started.close()


def recorded(root):
    """Both channels, and the gaps of each track, of all chunks together."""
    gaps = {track: [] for track in TRACKS}
    pcm = []
    for path in sorted(root.glob("ready/**/*_chunk.wav")):
        described = json.loads(path.with_suffix(".json").read_text())
        for track in TRACKS:
            gaps[track] += described["tracks"][track]["gaps"]
        pcm.append(np.frombuffer(audio(path), "<i2").reshape(-1, 2))
    return np.concatenate(pcm).T.astype(float), gaps


def correlations(heard, channel):
    """Compare window by window, each aligned to a fraction of a frame."""
    return [one.correlation for one in matches(heard, channel, round(WINDOW_S * RATE))]


def test_what_is_played_is_recorded_user_left_and_bot_right_without_a_gap(kiosk):
    seconds = 20.0
    kiosk = kiosk(seconds, KNOWN_S)
    time.sleep(KNOWN_S + seconds - STARTS_S)
    kiosk.stop()
    channels, gaps = recorded(kiosk.root)
    assert gaps == {"user": [], "bot": []}
    for channel, (track, heard) in zip(channels, kiosk.heard.items(), strict=True):
        found = channel[find(heard[: 2 * RATE], channel) :][: len(heard)]
        assert len(found) > (seconds - 2 * STARTS_S) * RATE  # nearly all of it was in time
        alike = correlations(heard, found)
        assert np.median(alike) > 0.99
        assert min(alike) > LEAST_WHILE_BENDING
        (other,) = (one for name, one in kiosk.heard.items() if name != track)
        crosstalk = np.corrcoef(other[: len(found)], found)[0, 1]
        assert abs(crosstalk) < 5 / np.sqrt(len(found))  # five sigma of two independent noises


def test_a_device_that_stalls_is_a_gap_as_long_as_what_is_missing_and_the_other_has_none(kiosk):
    seconds, lead_s, plays_s = 20.0, 8.0, 5.0
    kiosk = kiosk(seconds, lead_s)
    time.sleep(lead_s + plays_s - STARTS_S)
    os.kill(kiosk.child_of("user"), signal.SIGSTOP)  # what it will be killed for
    time.sleep(seconds - plays_s)
    kiosk.stop()
    channels, gaps = recorded(kiosk.root)
    assert gaps["bot"] == []
    assert {gap["reason"] for gap in gaps["user"]} <= {"stall", "absent"}
    for gap, following in itertools.pairwise(gaps["user"]):
        assert gap["start_frame"] + gap["frames"] == following["start_frame"]
    start = gaps["user"][0]["start_frame"]
    stop = gaps["user"][-1]["start_frame"] + gaps["user"][-1]["frames"]
    assert not channels[0, start:stop].any()
    assert (stop - start) / RATE > 1.4  # so long it was waited for
    heard = kiosk.heard["user"]
    begins = find(heard[:RATE], channels[0])
    before = channels[0, begins:start]
    assert len(before) > (plays_s - 2 * STARTS_S) * RATE
    assert min(correlations(heard, before)) > LEAST_WHILE_BENDING
    after = channels[0, stop + RATE : stop + 3 * RATE]
    came_back = find(after, heard)
    assert came_back / RATE == pytest.approx((stop + RATE - begins) / RATE, abs=0.05)
    assert min(correlations(heard[came_back:], after)) > LEAST_WHILE_BENDING

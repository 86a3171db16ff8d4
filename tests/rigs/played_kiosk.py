"""Sound that is played into a sound server's virtual devices, and a recorder of these."""

import json
import os
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np

from edgerec.audio import TRACKS
from edgerec.store.verify import verify
from tests.rigs.alignment import find, matches, noise
from tests.rigs.made_recordings import audio

RATE = 16_000
DEVICE_RATE = 48_000
SINKS = {"user": "kiosk_mic_feed", "bot": "kiosk_speaker"}
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

    def __init__(self, server, folder, seconds, lead_s):
        self.root = folder / "root"
        self.heard = {
            track: noise(round(seconds * RATE), RATE, seed) for seed, track in enumerate(TRACKS)
        }
        self.config = folder / "edgerec.yaml"
        self.config.write_text(
            "recording: {chunk_seconds: 10}\n"
            "tracks:\n"
            "  user: {device: 'pulse:kiosk_mic'}\n"
            "  bot: {device: 'pulse:kiosk_speaker.monitor', channels: 2}\n"
            f"storage: {{root: {self.root}}}\n"
        )
        # Several times what the server takes at once: 43 ms are PipeWire's.
        command = ["paplay", f"--latency-msec={200 if server.is_pipewire else 50}"]
        self._players = [
            subprocess.Popen(
                [*command, "-d", SINKS[track], write_wav(folder / f"{track}.wav", sound, lead_s)],
                env=os.environ | server.env,
            )
            for track, sound in self.heard.items()
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


def likeness(heard, pcm):
    """Assert that each channel has its own sound; return how alike windows are, by track."""
    alike = {}
    for channel, track in zip(pcm, heard, strict=True):
        found = channel[find(heard[track][: 2 * RATE], channel) :][: len(heard[track])]
        # Nearly all of it was in time.
        assert len(found) > len(heard[track]) - 2 * STARTS_S * RATE
        alike[track] = correlations(heard[track], found)
        assert min(alike[track]) > LEAST_WHILE_BENDING
        (other,) = (sound for name, sound in heard.items() if name != track)
        crosstalk = np.corrcoef(other[: len(found)], found)[0, 1]
        assert abs(crosstalk) < 5 / np.sqrt(len(found))  # five sigma of two independent noises
    return alike

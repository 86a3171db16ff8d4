"""A recorder of devices of sound servers, in a process of its own, and what it has recorded."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

from edgerec.audio import TRACKS
from edgerec.clock import raw_now_ns
from edgerec.store.archive.verify import verify
from tests.rigs import deaths
from tests.rigs.made_recordings import audio
from tests.rigs.true_sound import RATE, Track
from tests.rigs.waiting import PATIENCE_S, wait_for

PATIENT_S = 10.0
"""So long it waits for a track that is late, where the test is not about that: with its own 0.8 s,
of which blocks take 0.5 s, a machine that has much to do makes holes everywhere."""
POLL_S = 0.05
SETTLES_S = 2.5  # of audio
BEFORE_S = 1.0  # a fault, by which it is known where the sound was
LAST_LINES = 20


class Kiosk:
    """`edgerec run` on two devices, each of a sound server of its own or both of the same.

    Parameters
    ----------
    machine
        How late that was for it is watched; whether figures are held says how it records.
    devices
        What is to be recorded, by track: keys of a track's configuration.
    is_patient
        Whether it waits longer for a late track than by default: unless figures are held, it does.
    recording
        More of its configuration.
    """

    def __init__(self, folder, machine, servers, devices, *, is_patient=None, **recording):
        self.root = folder / "root"
        self._log = folder / "recorder.log"
        self._socket = folder / "control.sock"
        self._mark = f"EDGEREC_TEST={folder}"  # in the environment of all that it starts
        if is_patient or (is_patient is None and not machine.figures.are_held):
            recording["late_seconds"] = PATIENT_S
        settings = {
            "recording": recording,
            "tracks": {
                track: {**devices[track], "env": {"PULSE_SERVER": servers[track].address}}
                for track in TRACKS
            },
            "storage": {"root": str(self.root)},
            "control": {"socket": str(self._socket)},
        }
        config = folder / "edgerec.yaml"
        config.write_text(json.dumps(settings))  # JSON is YAML
        with self._log.open("w") as log:
            self._recorder = subprocess.Popen(
                [sys.executable, "-m", "edgerec", "run", "--config", str(config)],
                env=os.environ | servers["user"].env | dict([self._mark.split("=")]),
                stderr=log,
            )
        deaths.watch_process("the recorder", self._recorder, may_end=False)
        machine.watch(lambda: [self._recorder.pid])
        self._epoch_ns = None  # at most so much too late as what is committed last is old
        self._since = 0

    def settle(self, seconds=SETTLES_S):
        """Wait until both tracks have been recorded for a while; only what follows counts."""
        self.wait_until(user="running", bot="running")
        self.wait_for_audio(seconds)
        self._since = round(self.status()["session_seconds"] * RATE)
        self.wait_for_audio(BEFORE_S)

    def status(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE_S)
            client.connect(str(self._socket))
            client.sendall(b'{"id": 1, "command": "status"}\n')
            with client.makefile() as answers:
                status = json.loads(answers.readline())["result"]
        if status["recording"]:
            epoch_ns = raw_now_ns() - round(status["session_seconds"] * 1e9)
            self._epoch_ns = min(epoch_ns, self._epoch_ns or epoch_ns)
        return status

    def wait_until(self, **states):
        """Wait until it records, and the tracks are in these states; return when that was."""
        return self._wait_for(
            lambda tracks: all(tracks[track]["state"] == name for track, name in states.items()),
            f"both tracks to be {states}",
        )

    def wait_for_fault(self, state, restarts):
        """Wait until the user's track is in a state, or has been; return when that was told.

        `restarts` are those before.
        """
        return self._wait_for(
            lambda tracks: (
                tracks["user"]["state"] == state or tracks["user"]["restarts"] > restarts
            ),
            f"the user's track to be {state}",
        )

    def wait_for_audio(self, seconds):
        """Wait until what sounds now, and for some seconds from now on, has been recorded."""
        until_ns = raw_now_ns() + round(seconds * 1e9)
        self._wait_for(
            lambda _: self._epoch_ns + self.status()["session_seconds"] * 1e9 > until_ns,
            f"{seconds} s of audio",
        )

    def recorded(self):
        """Return how many frames have been recorded since it had settled."""
        return round(self.status()["session_seconds"] * RATE) - self._since

    def restarts(self):
        """Return how often the user's device has been opened again."""
        return self.status()["tracks"]["user"]["restarts"]

    def _wait_for(self, is_so, what):
        def look():
            with contextlib.suppress(OSError):  # it has only just begun
                status = self.status()
                return status["recording"] and is_so(status["tracks"])

        wait_for(look, look_s=POLL_S, why=lambda: f"waited in vain for {what}\n{self._said()}")
        return raw_now_ns()

    def _said(self):
        return "\n".join(self._log.read_text().splitlines()[-LAST_LINES:])

    def child_of(self, track):
        """Return the process that captures a track."""
        (child,) = (pid for pid, command in self.processes().items() if f"track={track}" in command)
        return child

    def processes(self):
        """Commands by process, of all that it has started and of itself."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has just ended
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_text()
        return found

    def anonymous_bytes(self):
        """Memory of its processes' own, shared with nobody but each other.

        What they map of libraries is left out: how much of it counts as theirs depends on who else
        has it mapped.
        """
        kilobytes = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):  # it has just ended
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
                kilobytes += int(re.search(r"^Pss_Anon: +(\d+)", rollup, re.M)[1])
        return kilobytes << 10

    def finish(self):
        """Stop it; return both tracks from when they had settled."""
        deaths.forget(self._recorder)
        self._recorder.terminate()
        assert self._recorder.wait(PATIENCE_S) == 0, self._said()
        wait_for(lambda: not self.processes(), why=lambda: f"left: {self.processes()}")
        assert verify(self.root).ok
        chunks = sorted(self.root.glob("ready/**/*_chunk.wav"))
        pcm = np.concatenate([np.frombuffer(audio(chunk), "<i2") for chunk in chunks])
        sidecars = [json.loads(chunk.with_suffix(".json").read_text()) for chunk in chunks]
        began_ns = self._epoch_ns + self._since * 1_000_000_000 // RATE
        return {
            track: Track(channel.astype(float), self._gaps(sidecars, track), began_ns)
            for track, channel in zip(TRACKS, pcm.reshape(-1, 2)[self._since :].T, strict=True)
        }

    def _gaps(self, sidecars, track):
        """Start, stop and reason of each, from when it had settled."""
        for sidecar in sidecars:
            for gap in sidecar["tracks"][track]["gaps"]:
                start = gap["start_frame"] - self._since
                stop = start + gap["frames"]
                if stop > 0:
                    yield max(start, 0), stop, gap["reason"]

    def close(self):
        deaths.forget(self._recorder)
        self._recorder.kill()
        self._recorder.wait()

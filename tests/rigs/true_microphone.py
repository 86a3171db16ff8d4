"""Microphones of true time, on sound servers that a test breaks; and a recorder of them.

PulseAudio's pipe source delivers what is written into it when it is written; PipeWire's reads as
much of it as time has passed, so that it is behind by what waited when it began.
"""

import contextlib
import fcntl
import json
import os
import re
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import numpy as np

from edgerec.audio import TRACKS
from edgerec.clock import raw_now_ns
from edgerec.store.verify import verify
from tests.rigs.made_recordings import audio
from tests.rigs.true_sound import DEVICE_RATE, RATE, Track

PATIENCE_S = 40.0
POLL_S = 0.05
SETTLES_S = 2.5
BEFORE_S = 1.0  # a fault, by which it is known where the sound was
FEED_S = 0.005
UNREAD_S = 0.6  # after that nobody seems to read it: PipeWire does every 43 ms, if it is in time
WAITING_S = 0.3
"""Of what nobody reads the newest: where PipeWire begins. For so long both may be held up before
PipeWire finds nothing."""
PIPE_BYTES = 1 << 18


class Microphone:
    """A source of a sound server, which may be taken away and put back.

    Attributes
    ----------
    late_s
        The latest that this machine has let it speak: others are as late.
    behind_s
        By so much what the server delivers is older than it says.
    processes
        Of the server, that hand its sound on: PipeWire is two.
    """

    def __init__(self, server, name, sound, folder):
        self.name = name
        self._server = server
        self._sound = sound
        self._path = folder / f"{name}.fifo"
        self._lock = threading.Lock()
        self.late_s = 0.0
        self.behind_s = WAITING_S if server.is_pipewire else 0.0
        self.processes = 2 if server.is_pipewire else 1
        self._pipe = None
        self._written_ns = 0
        self._left_bytes = 0  # behind the last write
        self._read_ns = 0  # when the server did, the last time
        self._rate = DEVICE_RATE
        self._module = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()
        self.plug_in()

    def plug_in(self, rate=DEVICE_RATE, *, says=None):
        """Have the server make a source of it, a new one each time; return when that was.

        `says` is the rate that it is said to have, where that is not its own.
        """
        self._sound.piece(0, 0, rate)  # which takes a while, the first time
        self._path.unlink(missing_ok=True)  # of a server that was killed
        plugged_ns = raw_now_ns()
        self._module = self._server.pactl(
            "load-module", "module-pipe-source", f"source_name={self.name}", f"file={self._path}",
            "format=s16le", f"rate={says or rate}", "channels=1",
        ).strip()  # fmt: skip
        with self._lock:
            self._let_go()
            self._pipe = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            self._rate = rate
            now_ns = raw_now_ns()
            os.write(self._pipe, self._sound.piece(now_ns - round(WAITING_S * 1e9), now_ns, rate))
            self._left_bytes, self._read_ns = _held_bytes(self._pipe), 0
            self._written_ns = now_ns
        return plugged_ns

    def unplug(self):
        self._server.pactl("unload-module", self._module)

    def close(self):
        self._closing.set()
        self._thread.join()
        self._let_go()

    def _let_go(self):
        if self._pipe is not None:
            os.close(self._pipe)

    def _feed(self):
        self._written_ns = raw_now_ns()
        while not self._closing.wait(FEED_S):
            with self._lock:
                now_ns = raw_now_ns()
                self.late_s = max(self.late_s, (now_ns - self._written_ns) / 1e9 - FEED_S)
                if self._pipe is not None:
                    self._write(now_ns)
                self._written_ns = now_ns

    def _write(self, now_ns):
        held_bytes = _held_bytes(self._pipe)
        if not held_bytes or held_bytes < self._left_bytes:
            self._read_ns = now_ns
        keep_bytes = round(WAITING_S * self._rate) * 2
        sound = self._sound.piece(self._written_ns, now_ns, self._rate)
        if held_bytes > keep_bytes and now_ns - self._read_ns > UNREAD_S * 1e9:
            sound = self._take_back(held_bytes, keep_bytes) + sound
        os.write(self._pipe, sound)
        self._left_bytes = _held_bytes(self._pipe)

    def _take_back(self, held_bytes, keep_bytes):
        """Empty the pipe; return what of it the server is to find there all the same: the newest.

        Or all that is left, where the server has begun to read meanwhile: it goes on with what
        follows. One read, during which nobody else can.
        """
        try:
            taken = os.read(self._pipe, PIPE_BYTES)
        except BlockingIOError:
            return b""  # it has read all of it
        return taken[-keep_bytes:] if len(taken) == held_bytes else taken


def _held_bytes(pipe):
    (held,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))
    return held


class Kiosk:
    """A recorder of two devices, each of a sound server of its own or both of the same."""

    def __init__(self, folder, servers, devices):
        self.root = folder / "root"
        self._socket = folder / "control.sock"
        self._mark = f"EDGEREC_TEST={folder}"  # in the environment of all that it starts
        tracks = {
            track: {
                "device": devices[track],
                "channels": 1,
                "env": {"PULSE_SERVER": servers[track].env["PULSE_SERVER"]},
            }
            for track in TRACKS
        }
        storage, control = {"root": str(self.root)}, {"socket": str(self._socket)}
        config = folder / "edgerec.yaml"  # JSON is YAML
        config.write_text(json.dumps({"tracks": tracks, "storage": storage, "control": control}))
        self._recorder = subprocess.Popen(
            [sys.executable, "-m", "edgerec", "run", "--config", str(config)],
            env=os.environ | servers["user"].env | dict([self._mark.split("=")]),
            stderr=subprocess.DEVNULL,
        )
        self._since = 0

    def settle(self):
        """Wait until both tracks have been recorded for a while; only what follows counts."""
        self.wait_until(user="running", bot="running")
        time.sleep(SETTLES_S)
        self._since = round(self.status()["session_seconds"] * RATE)
        time.sleep(BEFORE_S)

    def status(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE_S)
            client.connect(str(self._socket))
            client.sendall(b'{"id": 1, "command": "status"}\n')
            with client.makefile() as answers:
                return json.loads(answers.readline())["result"]

    def wait_until(self, **states):
        """Wait until it records, and the tracks are in these states; return when that was."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                status = self.status()
            except OSError:
                status = None  # it has only just begun
            if status is not None and status["recording"]:
                tracks = status["tracks"]
                if all(tracks[track]["state"] == name for track, name in states.items()):
                    return raw_now_ns()
            assert time.monotonic() < deadline, status
            time.sleep(POLL_S)

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
        rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.processes()]
        return sum(int(kb) for kb in re.findall(r"^Pss_Anon: +(\d+)", "".join(rollups), re.M)) << 10

    def finish(self):
        """Stop it; return both tracks from when they had settled."""
        self._recorder.terminate()
        assert self._recorder.wait(PATIENCE_S) == 0
        assert self.processes() == {}
        assert verify(self.root).ok
        (sidecar,) = self.root.glob("ready/**/*_chunk.json")
        described = json.loads(sidecar.read_text())["tracks"]
        pcm = np.frombuffer(audio(sidecar.with_suffix(".wav")), "<i2").reshape(-1, 2)
        return {
            track: Track(channel[self._since :].astype(float), self._gaps(described[track]))
            for track, channel in zip(TRACKS, pcm.T, strict=True)
        }

    def _gaps(self, described):
        """Start, stop and reason of each, from when it had settled."""
        for gap in described["gaps"]:
            start, stop = gap["start_frame"], gap["start_frame"] + gap["frames"]
            if stop > self._since:
                yield start - self._since, stop - self._since, gap["reason"]

    def close(self):
        self._recorder.kill()
        self._recorder.wait()

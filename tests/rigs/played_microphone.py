"""Microphones of true time on PipeWire: what a player plays into a sink, heard at its monitor.

PipeWire reads pipes, too, but ahead, and from 1.4 on it resamples what it has read until there is
as much of it as it likes: no place for sound that tells the time. What a player plays is handed on
as it is; and 2 s of it wait at the server, so that this process may be late.
"""

import contextlib
import fcntl
import os
import re
import statistics
import subprocess
import threading

from edgerec.clock import raw_now_ns
from tests.rigs.true_sound import DEVICE_RATE

FEED_S = 0.02
AHEAD_S = 2.5  # written before it is played; the server takes 2 s of it
PIPE_BYTES = 1 << 20  # and of what the player says, a quarter of an hour
PLAYED = re.compile(rb"Time: ([\d.]+) sec")
LOOKS = 10  # at how much has been played, which grows in steps of the server's 43 ms


SPARE_NS = 100_000_000  # by which it is not known better when the first of it is played


class PlayedMicrophone:
    """A source of a PipeWire, which may be taken away and put back.

    Attributes
    ----------
    late_s
        The latest that this machine has let it speak: it speaks in time, or fails.
    behind_s
        By so much what the server delivers is older than it says.
    processes
        Of the server, that hand its sound on.
    """

    late_s = 0.0
    behind_s = 0.0
    processes = 2

    def __init__(self, server, name, sound):
        self.name = name
        self._server = server
        self._sound = sound
        self._player = None
        self._module = None
        self._behind_ns = None
        self._true = threading.Event()  # what is heard, and no longer silence
        self._closing = threading.Event()
        self.plug_in()

    def plug_in(self):
        """Have the server make a source of it, a new one each time; return when that was."""
        if self._player is None or self._player.poll() is not None:  # of a server that was killed
            self._play()
        plugged_ns = raw_now_ns()
        self._module = self._load(
            "remap-source", f"source_name={self.name}", f"master={self.name}_feed.monitor"
        )
        return plugged_ns

    def unplug(self):
        self._server.pactl("unload-module", self._module)

    def lost_s(self, start_ns, stop_ns):
        """Return for how long it could not speak in a span: see `close`."""
        return 0.0

    def close(self):
        self._closing.set()
        self._thread.join()
        self._player.kill()
        _, told = self._player.communicate()
        assert b"underrun" not in told, "this process was so late that its sound is no longer true"

    def _load(self, module, *arguments):
        form = ("channels=1", "channel_map=mono")
        return self._server.pactl("load-module", f"module-{module}", *arguments, *form).strip()

    def _play(self):
        """Play silence, and what is true as soon as it is known when a frame is played."""
        self._sound.piece(0, 0, DEVICE_RATE)  # which takes a while, the first time
        self._load("null-sink", f"sink_name={self.name}_feed")
        command = ["pacat", "--verbose", "--playback", "--raw", f"--device={self.name}_feed"]
        command += [f"--rate={DEVICE_RATE}", "--format=s16le", "--channels=1"]
        self._player = subprocess.Popen(
            command,
            env=os.environ | self._server.env,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        for pipe in (self._player.stdin, self._player.stderr):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._behind_ns, self._true = None, threading.Event()
        began_ns = raw_now_ns()
        self._thread = threading.Thread(
            target=self._feed, args=(self._player.stdin, began_ns), name=f"microphone {self.name}"
        )
        self._thread.start()
        self._behind_ns = self._find_behind_ns(began_ns)
        self._true.wait()

    def _find_behind_ns(self, began_ns):
        """Return how much later a frame is played than the instant that it stands at."""
        behind_s = []
        while len(behind_s) < LOOKS:
            told = os.read(self._player.stderr.fileno(), 4096)
            since_s = (raw_now_ns() - began_ns) / 1e9
            assert told, "the player has ended"
            behind_s += [since_s - float(s) for s in PLAYED.findall(told)[-1:] if float(s)]
        return round(statistics.median(behind_s) * 1e9)

    def _feed(self, player, written_ns):
        with contextlib.suppress(BrokenPipeError):  # the server was killed
            true_ns = None
            while not self._closing.wait(FEED_S):
                until_ns = raw_now_ns() + round(AHEAD_S * 1e9)
                behind_ns = self._behind_ns
                if behind_ns is None:
                    player.write(bytes(len(self._sound.piece(written_ns, until_ns, DEVICE_RATE))))
                else:
                    true_ns = true_ns or written_ns + behind_ns
                    played = (written_ns + behind_ns, until_ns + behind_ns)
                    player.write(self._sound.piece(*played, DEVICE_RATE))
                    if raw_now_ns() > true_ns + SPARE_NS:
                        self._true.set()
                written_ns = until_ns

"""Microphones of true time, on sound servers that a test breaks.

PulseAudio's pipe source delivers what is written into it when it is written; PipeWire's reads as
much of it as time has passed, so that it is behind by what waited when it began.
"""

import fcntl
import os
import struct
import termios
import threading

from edgerec.clock import raw_now_ns
from tests.rigs.true_sound import DEVICE_RATE

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
        self._late = []  # when it was, and for how long
        self.behind_s = WAITING_S if server.is_pipewire else 0.0
        self.processes = 2 if server.is_pipewire else 1
        self._pipe = None
        self._written_ns = 0
        self._left_bytes = 0  # behind the last write
        self._read_ns = 0  # when the server did, the last time
        self._rate = DEVICE_RATE
        self._module = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._feed, name=f"feeder of {name}")
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

    def lost_s(self, start_ns, stop_ns):
        """Return for how long it could not speak in a span, in all."""
        return sum(late_s for late_ns, late_s in tuple(self._late) if start_ns < late_ns < stop_ns)

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
                late_s = (now_ns - self._written_ns) / 1e9 - FEED_S
                self.late_s = max(self.late_s, late_s)
                if late_s > FEED_S:
                    self._late.append((now_ns, late_s))
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

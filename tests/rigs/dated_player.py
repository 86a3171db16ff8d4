"""A player of noise into a PulseAudio sink that notes when the sink plays which of its frames.

It asks libpulse for its stream's timing twenty times a second: `read_index` less what the sink
still has to play is the frame that is played at that instant. A null sink has no other play time
than the one it says. `python -m tests.rigs.dated_player LOG SINK LATENCY_MS SEED SCRIPT`, where
SCRIPT is of `play:SECONDS` and `pause:SECONDS`, with commas.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from ctypes import (
    POINTER,
    Structure,
    c_char_p,
    c_int,
    c_int64,
    c_long,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path

import numpy as np

from edgerec.clock import raw_now_ns
from tests.rigs import deaths
from tests.rigs.alignment import noise

RATE = 48_000
NOISE_S = 64
BAND_HZ = (300, 7000)
LOOK_US = 5_000
TIMING_NS = 50_000_000
FORGET_NS = 3_000_000_000
NEAR = 7
STEADY_NS = 3_000_000
S = 1_000_000_000

_READY, _STREAM_READY = 4, 2
_S16LE = 3
_ADJUST_LATENCY = 0x2000
_UNSET = 2**32 - 1


class _Spec(Structure):
    _fields_ = (("format", c_int), ("rate", c_uint32), ("channels", c_uint8))


class _Attributes(Structure):
    _fields_ = tuple(
        (name, c_uint32) for name in ("maxlength", "tlength", "prebuf", "minreq", "fragsize")
    )


class _Timing(Structure):
    _fields_ = (
        ("seconds", c_long), ("microseconds", c_long), ("synchronized", c_int),
        ("sink_usec", c_uint64), ("source_usec", c_uint64), ("transport_usec", c_uint64),
        ("playing", c_int), ("write_corrupt", c_int), ("write_index", c_int64),
        ("read_corrupt", c_int), ("read_index", c_int64),
    )  # fmt: skip


_Success = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_void_p)
_SIGNATURES = {
    "pa_mainloop_new": (c_void_p,),
    "pa_mainloop_get_api": (c_void_p, c_void_p),
    "pa_mainloop_prepare": (c_int, c_void_p, c_int),
    "pa_mainloop_poll": (c_int, c_void_p),
    "pa_mainloop_dispatch": (c_int, c_void_p),
    "pa_context_new": (c_void_p, c_void_p, c_char_p),
    "pa_context_connect": (c_int, c_void_p, c_char_p, c_int, c_void_p),
    "pa_context_get_state": (c_int, c_void_p),
    "pa_stream_new": (c_void_p, c_void_p, c_char_p, POINTER(_Spec), c_void_p),
    "pa_stream_connect_playback": (
        c_int, c_void_p, c_char_p, POINTER(_Attributes), c_int, c_void_p, c_void_p,
    ),
    "pa_stream_get_state": (c_int, c_void_p),
    "pa_stream_writable_size": (c_size_t, c_void_p),
    "pa_stream_write": (c_int, c_void_p, c_char_p, c_size_t, c_void_p, c_int64, c_int),
    "pa_stream_cork": (c_void_p, c_void_p, c_int, c_void_p, c_void_p),
    "pa_stream_update_timing_info": (c_void_p, c_void_p, _Success, c_void_p),
    "pa_stream_get_timing_info": (POINTER(_Timing), c_void_p),
    "pa_operation_unref": (None, c_void_p),
}  # fmt: skip


def played_noise(seed):
    """Return the noise as int16."""
    samples = noise(NOISE_S * RATE, RATE, seed, BAND_HZ)
    return np.rint(samples * 32_767).astype("<i2")


class _Player:
    def __init__(self, sink, latency_ms, pcm):
        self._pulse = ctypes.CDLL("libpulse.so.0")
        for name, (result, *arguments) in _SIGNATURES.items():
            function = getattr(self._pulse, name)
            function.restype, function.argtypes = result, arguments
        self._pcm, self._written, self.corked = pcm, 0, False
        self.log = []
        self._asked = _Success(self._note)
        self._asking = False
        self._loop = self._pulse.pa_mainloop_new()
        api = self._pulse.pa_mainloop_get_api(self._loop)
        context = self._pulse.pa_context_new(api, b"dated player")
        self._pulse.pa_context_connect(context, None, 0, None)
        while self._pulse.pa_context_get_state(context) != _READY:
            self.turn()
        spec = _Spec(_S16LE, RATE, 1)
        target = round(latency_ms * RATE / 1000) * 2
        attributes = _Attributes(_UNSET, target, _UNSET, _UNSET, _UNSET)
        self._stream = self._pulse.pa_stream_new(context, b"noise", ctypes.byref(spec), None)
        self._pulse.pa_stream_connect_playback(
            self._stream, sink.encode(), ctypes.byref(attributes), _ADJUST_LATENCY, None, None
        )
        while self._pulse.pa_stream_get_state(self._stream) != _STREAM_READY:
            self.turn()

    def turn(self):
        self._pulse.pa_mainloop_prepare(self._loop, LOOK_US)
        self._pulse.pa_mainloop_poll(self._loop)
        self._pulse.pa_mainloop_dispatch(self._loop)

    def pump(self):
        room = self._pulse.pa_stream_writable_size(self._stream)
        if not self.corked and 0 < room < 1 << 31:
            piece = self._pcm[self._written : self._written + room - room % 2]
            self._pulse.pa_stream_write(self._stream, piece, len(piece), None, 0, 0)
            self._written += len(piece)

    def cork(self, corked):
        self.corked = corked
        operation = self._pulse.pa_stream_cork(self._stream, int(corked), None, None)
        self._pulse.pa_operation_unref(operation)

    def ask(self):
        if not self._asking:
            self._asking = True
            operation = self._pulse.pa_stream_update_timing_info(self._stream, self._asked, None)
            self._pulse.pa_operation_unref(operation)

    def _note(self, _stream, success, _data):
        self._asking = False
        timing = self._pulse.pa_stream_get_timing_info(self._stream)
        if not success or not timing or timing.contents.read_corrupt:
            return
        told = timing.contents
        wall_ns = told.seconds * S + told.microseconds * 1000
        raw_ns = wall_ns - time.time_ns() + raw_now_ns()
        if told.playing:
            self.log.append((raw_ns, told.read_index / 2 - told.sink_usec * RATE / 1e6))


def main(log, sink, latency_ms, seed, script):
    player = _Player(sink, float(latency_ms), played_noise(int(seed)).tobytes())
    due_ns = 0
    for step in script.split(","):
        what, seconds = step.split(":")
        if (what == "pause") != player.corked:
            player.cork(what == "pause")
        end_ns = raw_now_ns() + round(float(seconds) * S)
        while (now_ns := raw_now_ns()) < end_ns:
            player.turn()
            player.pump()
            if now_ns > due_ns:
                player.ask()
                due_ns = now_ns + TIMING_NS
        Path(log).write_text(json.dumps(player.log))


class DatedPlayer:
    """The player as a process, and what it noted."""

    def __init__(self, server, log, sink, latency_ms, seed, script):
        self._log = log
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(log), sink, str(latency_ms), str(seed), script],
            env=os.environ | server.env,
        )
        deaths.watch_process(f"the player into {sink}", self.process, may_end=True)

    def finish(self):
        """Wait for the end of its script; return the instants and the frames played then."""
        deaths.forget(self.process)
        assert self.process.wait() == 0
        return np.array(json.loads(self._log.read_text()), dtype=float).reshape(-1, 2)

    def close(self):
        deaths.forget(self.process)
        self.process.kill()
        self.process.wait()


def instants_of(log, frames):
    """Return when the sink played each frame; nan where its timing jumped around then."""
    found = np.full(len(frames), np.nan)
    offsets = log[:, 0] - log[:, 1] * S / RATE
    for nth, frame in enumerate(frames):
        away = abs(log[:, 1] - frame)
        near = np.argsort(away)[:NEAR]
        close_by = away[near] * S / RATE < FORGET_NS
        if close_by.all() and np.ptp(offsets[near]) < STEADY_NS:
            found[nth] = np.median(offsets[near]) + frame * S / RATE
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])

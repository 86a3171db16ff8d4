"""Sound that is played into a sound server's virtual devices, and a recorder of these."""

import os
import subprocess
import threading

import numpy as np

from edgerec.audio import TRACKS
from tests.rigs import deaths
from tests.rigs.outages import STALL_S
from tests.rigs.recorded_kiosk import Kiosk
from tests.rigs.true_sound import DEVICE_RATE, RATE, WINDOW, Sound, stretch_of
from tests.rigs.waiting import wait_for

SINKS = {"user": "kiosk_mic_feed", "bot": "kiosk_speaker"}
DEVICES = {
    "user": {"device": "pulse:kiosk_mic"},
    "bot": {"device": "pulse:kiosk_speaker.monitor", "channels": 2},
}
SOUNDS = {track: Sound(seed, (300, 6000)) for seed, track in enumerate(TRACKS)}
LEAST_WHILE_BENDING = 0.9
"""A line that is put right bends by at most `MAX_BEND`, 50 us in a window: of sound up to 6 kHz
such a window keeps a correlation of 0.95, with nothing else wrong. Straight lines, off by the tens
of ppm that a sound server leaves open, keep 0.999."""
UNLIKE = 0.01  # in the median, once the devices' clocks are known
BEGINS_S = 3.0  # the sound, at most: a pipe, a player, the server and the recorder hold some
LATENCY_S = 0.2
"""Of a player where figures are held: it may be late by that. Several times what a server takes at
once (43 ms are PipeWire's), and much less than the 2 s of an idle null sink, which would deliver in
such lumps."""
PATIENT_LATENCY_S = 0.6  # where they are not: half of what makes a stall
PIECE_BYTES = 2 * DEVICE_RATE // 50


class Player:
    """A program that plays silence into a sink, and on demand a sound, again and again."""

    def __init__(self, server, sink, sound, latency_s):
        self._samples = sound.played(DEVICE_RATE).tobytes()
        self._sounds, self._closing = threading.Event(), threading.Event()
        command = ["pacat", "--playback", "--raw", f"--latency-msec={round(1000 * latency_s)}"]
        form = ["--format=s16le", f"--rate={DEVICE_RATE}", "--channels=1", "-d", sink]
        self.process = subprocess.Popen(
            [*command, *form], env=os.environ | server.env, stdin=subprocess.PIPE
        )
        deaths.watch_process(f"the player into {sink}", self.process, may_end=False)
        self._thread = threading.Thread(target=self._feed, name=f"feeder of {sink}")
        self._thread.start()

    def start(self):
        """Play the sound from now on."""
        self._sounds.set()

    def close(self):
        deaths.forget(self.process)
        self._closing.set()
        self.process.kill()
        self.process.wait()
        self._thread.join()

    def _feed(self):
        silence, rest = bytes(PIECE_BYTES), b""
        try:
            while True:
                if self._sounds.is_set() and not rest:
                    rest = self._samples
                self.process.stdin.write(rest[:PIECE_BYTES] or silence)
                self.process.stdin.flush()
                rest = rest[PIECE_BYTES:]
        except BrokenPipeError:
            if not self._closing.is_set():
                raise


class PlayedKiosk(Kiosk):
    """A recorder of both virtual devices, and players of a sound into each.

    Players are there before the recorder and play without a pause: the size of an idle null sink's
    lumps changes when one starts.
    """

    def __init__(self, server, folder, machine):
        self._machine = machine
        self._latency_s = LATENCY_S if machine.figures.are_held else PATIENT_LATENCY_S
        self._players = [
            Player(server, SINKS[track], SOUNDS[track], self._latency_s) for track in TRACKS
        ]
        machine.watch(lambda: [player.process.pid for player in self._players])
        wait_for(
            lambda: len(server.pactl("list", "short", "sink-inputs").splitlines()) >= len(TRACKS),
            look_s=0.1,
        )
        servers = dict.fromkeys(TRACKS, server)
        super().__init__(folder, machine, servers, DEVICES, chunk_seconds=10)

    def play(self, seconds):
        """Play the sounds; return the frame from which on so much of them has been recorded."""
        for player in self._players:
            player.start()
        self.wait_for_audio(BEGINS_S)
        begins = self.recorded()
        self.wait_for_audio(seconds)
        return begins

    def close(self):
        super().close()
        for player in self._players:
            player.close()

    def expect_no_gap(self, track):
        """See that nothing is missing in a track, unless the machine was too late for it."""
        missing_s = sum(stop - start for start, stop, _ in track.gaps) / RATE
        began_ns = track.instant_ns(0)
        self._machine.note("played: missing", missing_s, "s", limit=0.0, since_ns=began_ns)
        for start, stop, reason in track.gaps:
            problem = f"a gap of {(stop - start) / RATE:.2f} s ({reason})"
            start_ns, stop_ns = track.instant_ns(start), track.instant_ns(stop)
            self._machine.explain(problem, start_ns, stop_ns, stall_s=STALL_S)

    def expect_heard(self, name, tracks, start, frames):
        """See that a piece of a track is what its device heard; return how late by the window."""
        track = tracks[name]
        (other,) = (one for other, one in tracks.items() if other != name)
        pieces = [one.samples[start : start + frames] for one in (track, other)]
        if pieces[1].any():
            crosstalk = np.corrcoef(*pieces)[0, 1]
            assert abs(crosstalk) < 5 / np.sqrt(frames)  # sigma of two independent noises
        heard = stretch_of(pieces[0], start, SOUNDS[name])
        start_ns, stop_ns = track.instant_ns(start), track.instant_ns(start + frames)
        torn = np.flatnonzero(heard.likeness <= LEAST_WHILE_BENDING)
        if len(torn):
            problem = f"torn sound from {(start + WINDOW * torn[0]) / RATE:.2f} s on"
            stall_s = max(self._latency_s / 2, len(torn) * WINDOW / RATE)
            self._machine.explain(problem, start_ns, stop_ns, stall_s=stall_s)
        if self._machine.figures.are_held:  # else the devices' clocks are not known yet
            what, unlike = "played: unlike what was heard", 1 - np.median(heard.likeness)
            self._machine.note(what, unlike, "of 1", limit=UNLIKE, since_ns=start_ns)
        return heard.late_s

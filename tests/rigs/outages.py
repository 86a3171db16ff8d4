"""What breaks a device while it is recorded, and what may be missing then and nothing else.

What was recorded says itself when it was sampled, so every time here but "found" is of the sound.

What gates holds on any machine: a fault is found and declared, what is missing is around it, all
the rest is the right sound, and the processes are the same as before. How fast, how exact and how
little are figures. What the machine alone can break (a hole elsewhere, torn sound) fails unless
that was late for as long as it takes; then the test is repeated.
"""

import time
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgerec.capture.child import ChildLimits
from edgerec.capture.portaudio import LATENCY_BLOCKS, SERVER_BLOCK_MS, SPIN_S
from edgerec.capture.stream_guard import HOLD_NS
from edgerec.clock import raw_now_ns
from tests.rigs.played_microphone import PlayedMicrophone
from tests.rigs.recorded_kiosk import POLL_S, SETTLES_S, Kiosk
from tests.rigs.sound_server import SoundServer
from tests.rigs.true_microphone import WAITING_S, Microphone
from tests.rigs.true_sound import PERIOD_S, RATE, WINDOW, Sound, loudness
from tests.rigs.waiting import wait_for

FOUND_S = 2.0
AGAIN_S = 5.0  # recorded for good, after the device is back
MISPLACED_S = 0.05
GROSSLY_S = SERVER_BLOCK_MS / 1000  # misplaced: as by a block that was counted twice
HELD_S = (LATENCY_BLOCKS + 2) * SERVER_BLOCK_MS / 1000
"""What goes with a device: what is in its buffer, and in the recorder's hand a pair of blocks."""
CPU_SHARE = (SPIN_S + 0.5) / (SPIN_S + ChildLimits().last_retry_ns / 1e9)
"""Of one core, on average: what a child may spend on a stream that does not begin, and half a
second to start, before the next pause. A thread that spins takes all of it."""
STALL_S = ChildLimits().stall_ns / 1e9 - 2 * SERVER_BLOCK_MS / 1000
"""What the machine must be late for to make a hole in a track that is waited for: blocks come two
at a time, and where none comes for `stall_ns` there is a hole."""
TORN_S = WAITING_S
"""What a feeder or a server must be late for to tear the sound: nothing else holds less of it."""
LEAKS_S = HOLD_NS / 1e9
"""What news of another source must be late for to have a moment of it recorded."""

RIGHT = Sound(1, (300, 3000))
WRONG = Sound(2, (4000, 7000))
ALIKE = 0.9
"""Of a window: led back by at most `MAX_BEND`, it is 25 us off at its ends, and a sixth of a
frame everywhere, t = 35 us: sound up to 3 kHz keeps sin(2 pi 3000 t) / (2 pi 3000 t) = 0.93. Sound
of a higher band does not, and is told by its loudness alone."""
HEARD_NOT = 0.12
"""As loud as what should be heard. A source that begins to be read may tear the sound once: of 300
places, that is 0.085 as loud in the other's band at most, and 2 ms of the other 0.15 at least."""


QUESTIONS = ("pactl\0--format=json\0", "pw-dump\0")


@dataclass(frozen=True)
class Fault:
    """What happened to the user's device, on CLOCK_MONOTONIC_RAW.

    Attributes
    ----------
    broken_ns
        From then on there was nothing of it to be heard.
    back_ns
        It was there again.
    """

    began_ns: int
    broken_ns: int
    back_ns: int


class Rig:
    """A server with the user's microphone and another one, and a server that is left in peace.

    Parameters
    ----------
    stack
        What is to be closed at the end.
    machine
        Where figures go and explanations come from.
    """

    def __init__(self, folder, stack, machine, *, is_pipewire=False):
        self._folder = folder
        self._stack = stack
        self._machine = machine
        self._is_pipewire = is_pipewire
        self.server = self._server("server")
        self._peaceful = self._server("peaceful")
        self.mic = self._microphone(self.server, "mic", RIGHT)
        self.wrong = self._microphone(self.server, "wrong", WRONG)
        self.server.pactl("set-default-source", "wrong")  # where a stream goes that lost its own

    def _server(self, name):
        server = SoundServer(self._folder / name, is_pipewire=self._is_pipewire)
        self._stack.callback(server.close)
        self._machine.watch(server.pids)
        return server

    def _microphone(self, server, name, sound):
        if server.is_pipewire:
            microphone = PlayedMicrophone(server, name, sound)
        else:
            microphone = Microphone(server, name, sound, self._folder)
        self._stack.callback(microphone.close)
        self._machine.watch_feeder(microphone.lost_s)
        return microphone

    def start(self, device="pulse:mic", *, same_server=False, is_patient=None):
        """Record the microphone, and one more in the bot's track."""
        servers = {"user": self.server, "bot": self.server if same_server else self._peaceful}
        self._microphone(servers["bot"], "other", RIGHT)
        names = {"user": device, "bot": "pulse:other"}
        devices = {
            track: {"source": "portaudio", "device": name, "channels": 1}
            for track, name in names.items()
        }
        kiosk = Kiosk(self._folder, self._machine, servers, devices, is_patient=is_patient)
        self._stack.callback(kiosk.close)
        kiosk.settle()
        return kiosk

    def start_server_again(self):
        """Start one that was killed; return when the microphone was back."""
        self.server.start()
        self.wrong.plug_in()
        return self.mic.plug_in()

    def break_and_mend(self, kiosk, break_it, mend_it, *, down_s, name="absent"):
        """Break the user's device and mend it; see that it is found; measure what that costs."""
        commands = _lasting(kiosk)
        restarts, spent_s = kiosk.restarts(), kiosk.status()["cpu_seconds"]
        began_ns = raw_now_ns()
        note = partial(self._machine.note, since_ns=began_ns)
        break_it()
        broken_ns = raw_now_ns()
        found_s = (kiosk.wait_for_fault(name, restarts) - began_ns) / 1e9
        note("device: fault found after", found_s, "s", limit=FOUND_S + POLL_S)
        time.sleep(down_s)
        back_ns = mend_it()
        kiosk.wait_until(user="running")
        kiosk.wait_for_audio(SETTLES_S)
        spent_s = kiosk.status()["cpu_seconds"] - spent_s
        share = spent_s / (raw_now_ns() - began_ns) * 1e9
        note("device: CPU while it is away", share, "of a core", limit=CPU_SHARE)
        wait_for(
            lambda: _lasting(kiosk) == commands,
            why=lambda: f"other processes than before: {kiosk.processes()}, before: {commands}",
        )
        return Fault(began_ns, broken_ns, back_ns)

    def expect_untouched(self, track):
        """See that nothing is missing, and that all of it is in place."""
        outages = track.outages()
        missing_s = sum(stop - start for start, stop in outages) / RATE
        begun_ns = track.instant_ns(0)
        self._machine.note("other track: missing", missing_s, "s", limit=0.0, since_ns=begun_ns)
        for outage in outages:
            self._expect_explained("a hole in the other track", track, *outage)
        stretches = track.stretches(lambda _: RIGHT)
        late_s = np.concatenate([self._expect_right(track, stretch) for stretch in stretches])
        self._note_misplaced("other track: misplaced", late_s, late_s[0], track, 0, 1)

    def expect_silence_only_for(self, faults, track, *, reasons, after=RIGHT):
        """See that what is missing is what the faults took, and that all the rest is in place."""
        first_ns = faults[0].began_ns
        stretches = track.stretches(lambda ns: RIGHT if ns < first_ns else after)
        late_s = {stretch: self._expect_right(track, stretch) for stretch in stretches}
        outages = track.outages()
        for fault in faults:
            self._expect_hole(fault, track, outages)
            start, stop = min(outages, key=partial(track.distance_ns, fault.began_ns))
            outages.remove((start, stop))
            told = {why for begins, ends, why in track.gaps if begins < stop and ends > start}
            assert told <= {*reasons, "xrun", "resync"}, told
            (before,) = (stretch for stretch in stretches if stretch.stop == start)
            (behind,) = (stretch for stretch in stretches if stretch.start == stop)
            self._measure(fault, before, behind)
            self._note_misplaced(
                "device: misplaced when it is back",
                late_s[behind], late_s[before][-1], track, stop, self.mic.processes,
            )  # fmt: skip
        for outage in outages:
            self._expect_explained("a hole without a fault", track, *outage)

    def _expect_hole(self, fault, track, outages):
        """See that there is a hole for a fault; a late machine makes one of two."""
        if outages:
            return
        problem = f"no hole of its own for a fault: {track.gaps}"
        assert track.gaps, problem
        self._machine.explain(problem, fault.began_ns, fault.back_ns, stall_s=STALL_S)

    def expect_own_rate(self, track):
        """See that what is behind all holes is right."""
        stretch = track.stretches(lambda _: RIGHT)[-1]
        late_s = self._expect_right(track, stretch)
        what = "device: misplaced when its rate is known"
        self._note_misplaced(what, late_s, late_s[0], track, stretch.start, 1)

    def _measure(self, fault, before, behind):
        """See that nothing is heard of when there was nothing; measure what was lost."""
        note = partial(self._machine.note, since_ns=fault.began_ns)
        lost_s = later_s(fault.began_ns / 1e9, before.ended_s) - self.mic.behind_s
        again_s = later_s(behind.began_s, fault.back_ns / 1e9) + self.mic.behind_s
        assert lost_s >= -(fault.broken_ns - fault.began_ns) / 1e9 - MISPLACED_S
        note("device: lost before the fault", lost_s, "s", limit=HELD_S)
        note("device: recorded again after", again_s, "s", limit=AGAIN_S)

    def _note_misplaced(self, what, late_s, than_s, track, start, processes):
        """Measure by how much it is misplaced, from a frame on; by a block is never right.

        A stream is placed by when its first blocks came, as late as the machine was: each process
        of a server once.
        """
        misplaced_s = abs(later_s(late_s, than_s)).max()
        limit_s = MISPLACED_S + processes * self.mic.late_s
        start_ns, stop_ns = track.instant_ns(start), track.instant_ns(len(track.samples))
        limit_ms = 1000 * limit_s
        self._machine.note(what, 1000 * misplaced_s, "ms", limit=limit_ms, since_ns=start_ns)
        if misplaced_s > GROSSLY_S:
            problem, stall_s = f"{what}: {misplaced_s:.3f} s", misplaced_s - GROSSLY_S
            self._machine.explain(problem, start_ns, stop_ns, stall_s=stall_s)

    def _expect_right(self, track, stretch):
        """See that it is its own sound, and no other; return how late it is by the window."""
        other = WRONG if stretch.sound is RIGHT else RIGHT
        heard, heard_not = (
            loudness(stretch.samples, sound.band_hz) for sound in (stretch.sound, other)
        )
        if heard_not > HEARD_NOT * heard:
            problem = f"another source is heard, {heard_not / heard:.2f} as loud"
            self._explain(problem, track, stretch.start, stretch.stop, LEAKS_S)
        torn = np.flatnonzero(stretch.likeness <= ALIKE)
        if stretch.sound is RIGHT and len(torn):
            frames = [stretch.start + int(window) * WINDOW for window in torn]
            places = ", ".join(f"{frame / RATE:.2f} s" for frame in frames)
            stall_s = max(TORN_S, len(torn) * WINDOW / RATE)
            problem = f"torn sound at {places}; gaps: {track.gaps}"
            self._explain(problem, track, frames[0], frames[-1], stall_s)
        return stretch.late_s

    def _expect_explained(self, what, track, start, stop):
        told = [why for begins, ends, why in track.gaps if begins < stop and ends > start]
        problem = f"{what}, {(stop - start) / RATE:.2f} s at {start / RATE:.2f} s: {told}"
        self._explain(problem, track, start, stop, STALL_S)

    def _explain(self, problem, track, start, stop, stall_s):
        start_ns, stop_ns = track.instant_ns(start), track.instant_ns(stop)
        self._machine.explain(problem, start_ns, stop_ns, stall_s=stall_s)


def _lasting(kiosk):
    """Return the commands of its processes, but for the questions that it asks a server."""
    commands = kiosk.processes().values()
    return sorted(one for one in commands if not one.startswith(QUESTIONS))


def later_s(instant_s, than_s):
    """Return how much later; both are known but for whole periods of the sound."""
    return (np.asarray(instant_s) - than_s + PERIOD_S / 2) % PERIOD_S - PERIOD_S / 2

"""What breaks a device while it is recorded, and what may be missing then and nothing else.

What was recorded says itself when it was sampled, so every time here but "found" is of the sound.
What was measured is printed.
"""

import signal
import time
from dataclasses import dataclass

import numpy as np

from edgerec.capture.child import ChildLimits
from edgerec.capture.portaudio import LATENCY_BLOCKS, SERVER_BLOCK_MS, SPIN_S
from edgerec.clock import raw_now_ns
from tests.rigs.sound_server import SoundServer
from tests.rigs.true_microphone import POLL_S, SETTLES_S, Kiosk, Microphone
from tests.rigs.true_sound import PERIOD_S, Sound, loudness

FOUND_S = 2.0
AGAIN_S = 5.0  # recorded for good, after the device is back
MISPLACED_S = 0.05
HELD_S = (LATENCY_BLOCKS + 2) * SERVER_BLOCK_MS / 1000
"""What goes with a device: what is in its buffer, and in the recorder's hand a pair of blocks."""
CPU_SHARE = (SPIN_S + 0.5) / (SPIN_S + ChildLimits().last_retry_ns / 1e9)
"""Of one core, on average: what a child may spend on a stream that does not begin, and half a
second to start, before the next pause. A thread that spins takes all of it."""

RIGHT = Sound(1, (300, 3000))
WRONG = Sound(2, (4000, 7000))
ALIKE = 0.9
"""Of a window: led back by at most `run.MAX_BEND`, it is 25 us off at its ends, and a sixth of a
frame everywhere, t = 35 us: sound up to 3 kHz keeps sin(2 pi 3000 t) / (2 pi 3000 t) = 0.93. Sound
of a higher band does not, and is told by its loudness alone."""
HEARD_NOT = 0.12
"""As loud as what should be heard. A source that begins to be read may tear the sound once: of 300
places, that is 0.085 as loud in the other's band at most, and 2 ms of the other 0.15 at least."""


@dataclass(frozen=True)
class Fault:
    """What happened to the user's device, on CLOCK_MONOTONIC_RAW; `back_ns`: it was there again."""

    began_ns: int
    back_ns: int


class Rig:
    """A server with the user's microphone and another one, and a server that is left in peace."""

    def __init__(self, folder, stack, *, is_pipewire=False):
        self._folder = folder
        self._stack = stack
        self._is_pipewire = is_pipewire
        self.server = self._server("server")
        self._peaceful = self._server("peaceful")
        self.mic = self._microphone(self.server, "mic", RIGHT)
        self.wrong = self._microphone(self.server, "wrong", WRONG)
        self.server.pactl("set-default-source", "wrong")  # where a stream goes that lost its own

    def _server(self, name):
        server = SoundServer(self._folder / name, is_pipewire=self._is_pipewire)
        self._stack.callback(server.signal, signal.SIGKILL)
        return server

    def _microphone(self, server, name, sound):
        microphone = Microphone(server, name, sound, self._folder)
        self._stack.callback(microphone.close)
        return microphone

    def start(self, device="pulse:mic", *, same_server=False):
        """Record the microphone, and one more in the bot's track."""
        servers = {"user": self.server, "bot": self.server if same_server else self._peaceful}
        self._microphone(servers["bot"], "other", RIGHT)
        kiosk = Kiosk(self._folder, servers, {"user": device, "bot": "pulse:other"})
        self._stack.callback(kiosk.close)
        kiosk.settle()
        return kiosk

    def start_server_again(self):
        """Start one that was killed; return when the microphone was back."""
        self.server.start()
        self.wrong.plug_in()
        return self.mic.plug_in()


def break_and_mend(kiosk, break_it, mend_it, *, down_s, name="absent"):
    """Break the user's device and mend it; see that it is found, and what that costs."""
    commands = sorted(kiosk.processes().values())
    spent_s = kiosk.status()["cpu_seconds"]
    began_ns = raw_now_ns()
    break_it()
    found_s = (kiosk.wait_until(user=name) - began_ns) / 1e9
    time.sleep(down_s)
    back_ns = mend_it()
    kiosk.wait_until(user="running")
    time.sleep(SETTLES_S)
    spent_s = kiosk.status()["cpu_seconds"] - spent_s
    share = spent_s / (raw_now_ns() - began_ns) * 1e9
    print(f"found after {found_s:.2f} s, {share:.3f} of a core")
    assert found_s <= FOUND_S + POLL_S
    assert share <= CPU_SHARE
    assert sorted(kiosk.processes().values()) == commands
    return Fault(began_ns, back_ns)


def later_s(instant_s, than_s):
    """Return how much later; both are known but for whole periods of the sound."""
    return (np.asarray(instant_s) - than_s + PERIOD_S / 2) % PERIOD_S - PERIOD_S / 2


def is_right(stretch):
    """Assert that it is its own sound, and no other."""
    assert stretch.sound is WRONG or stretch.likeness.min(initial=1.0) > ALIKE
    other = WRONG if stretch.sound is RIGHT else RIGHT
    heard, heard_not = (
        loudness(stretch.samples, sound.band_hz) for sound in (stretch.sound, other)
    )
    assert heard_not < HEARD_NOT * heard


def is_untouched(track, *, mic):
    assert track.gaps == []
    (stretch,) = track.stretches(RIGHT)
    is_right(stretch)
    assert abs(later_s(stretch.late_s, stretch.late_s[0])).max() <= MISPLACED_S + mic.late_s


def is_silent_only_for(faults, track, *, mic, reasons, after=RIGHT):
    """Assert that what is missing is what the faults took, and that all the rest is in place.

    A stream is placed by when its first blocks came, as late as the machine was: each process
    of the server once.
    """
    stretches = track.stretches(RIGHT, after)
    for stretch in stretches:
        is_right(stretch)
    assert {reason for _, _, reason in track.gaps} <= {*reasons, "xrun"}
    for fault, (start, stop) in zip(faults, track.outages(), strict=True):
        (before,) = (stretch for stretch in stretches if stretch.stop == start)
        (behind,) = (stretch for stretch in stretches if stretch.start == stop)
        lost_s = later_s(fault.began_ns / 1e9, before.ended_s) - mic.behind_s
        again_s = later_s(behind.began_s, fault.back_ns / 1e9) + mic.behind_s
        misplaced_s = abs(later_s(behind.late_s, before.late_s[-1])).max()
        print(
            f"lost {lost_s:.2f} s, again after {again_s:.2f} s, {1000 * misplaced_s:.1f} ms off, "
            f"where the machine was up to {1000 * mic.late_s:.1f} ms late"
        )
        assert -MISPLACED_S <= lost_s <= HELD_S
        assert again_s <= AGAIN_S
        assert misplaced_s <= MISPLACED_S + mic.processes * mic.late_s

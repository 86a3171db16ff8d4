"""Devices that go, stall, are swapped or refused: what is found, recorded, and how exactly.

`scripts/campaign devices` runs these tests again and again and holds their figures to their limits.
"""

import os
import signal
import socket
import time
from contextlib import ExitStack
from functools import partial

import pytest

from edgerec.capture.child import ChildLimits
from edgerec.capture.portaudio import SERVER_BLOCK_MS
from edgerec.capture.stream_guard import WINDOW_NS, WINDOWS
from edgerec.clock import raw_now_ns
from tests.rigs.outages import FOUND_S, WRONG
from tests.rigs.recorded_kiosk import SETTLES_S
from tests.rigs.sound_server import ON_BOTH

pytestmark = pytest.mark.real

STARTED_S = 3.0  # a recorder, and its first block
PAIR_S = 2 * SERVER_BLOCK_MS / 1000  # blocks come two at a time
STEADY_MIB = 4.0
"""Of all processes together: less than one of them more, and room for the ring, whose pages are
there when it first fills: 0.1 MB a second."""
FROZEN_S = 6.0  # the child has been given up, and the next one waits for an answer
FROZEN_LONG_S = 20.0  # that one has been given up, too
CLIENTS = 64  # that a server has at most


def test_a_source_that_goes_is_a_gap_and_what_the_same_server_has_besides_is_untouched(
    rig, figures
):
    """A source takes seconds to be recorded for good, and goes twice: at another rate, too."""
    kiosk = rig.start(same_server=True)
    faults, bytes_then = [], []
    for rate in (48_000, 44_100, 48_000) if figures.are_held else (44_100, 48_000):
        plug_in = partial(rig.mic.plug_in, rate)
        faults.append(rig.break_and_mend(kiosk, rig.mic.unplug, plug_in, down_s=1.0))
        bytes_then.append(kiosk.anonymous_bytes())
    tracks = kiosk.finish()
    grown = (bytes_then[-1] - bytes_then[0]) / 2**20
    figures.note("device: memory of further losses", grown, "MiB", limit=STEADY_MIB)
    rig.expect_untouched(tracks["bot"])
    rig.expect_silence_only_for(faults, tracks["user"], reasons={"source", "absent"})


def test_a_source_that_is_back_at_once_is_not_taken_for_one_that_never_left(rig):
    """Real audio before and behind the fault, of two servers and a recorder that start."""
    kiosk = rig.start()

    def flap():
        rig.mic.unplug()
        rig.mic.plug_in()

    fault = rig.break_and_mend(kiosk, flap, raw_now_ns, down_s=0.0)
    tracks = kiosk.finish()
    rig.expect_untouched(tracks["bot"])
    rig.expect_silence_only_for([fault], tracks["user"], reasons={"source", "absent"})


def test_a_source_that_silently_stops_is_a_stall_and_nobody_spins(rig):
    """Suspended for 6 s: longer than a child may spin."""
    kiosk = rig.start()

    def suspend(*, state):
        rig.server.pactl("suspend-source", rig.mic.name, str(int(state)))
        return raw_now_ns()

    fault = rig.break_and_mend(
        kiosk, partial(suspend, state=True), partial(suspend, state=False),
        down_s=6.0, name="stalled",
    )  # fmt: skip
    tracks = kiosk.finish()
    rig.expect_untouched(tracks["bot"])
    rig.expect_silence_only_for([fault], tracks["user"], reasons={"stall", "absent"})


@ON_BOTH
def test_a_server_that_is_killed_is_recorded_again_when_it_is_back(rig):
    """Away for 3 s: a child that is started meanwhile finds no server."""
    kiosk = rig.start()
    fault = rig.break_and_mend(kiosk, rig.server.kill, rig.start_server_again, down_s=3.0)
    tracks = kiosk.finish()
    rig.expect_untouched(tracks["bot"])
    rig.expect_silence_only_for([fault], tracks["user"], reasons={"absent"})


def test_a_server_that_stands_still_is_recorded_again_when_it_goes_on(rig, figures):
    """Frozen for 6 s: one child is given up, and the next waits for an answer."""
    kiosk = rig.start()

    def thaw():
        rig.server.signal(signal.SIGCONT)
        return raw_now_ns()

    freeze = partial(rig.server.signal, signal.SIGSTOP)
    down_s = (FROZEN_LONG_S if figures.are_held else FROZEN_S) - FOUND_S
    fault = rig.break_and_mend(kiosk, freeze, thaw, down_s=down_s, name="stalled")
    tracks = kiosk.finish()
    rig.expect_untouched(tracks["bot"])
    rig.expect_silence_only_for([fault], tracks["user"], reasons={"stall", "absent"})


def test_a_server_that_takes_no_more_clients_is_asked_until_it_does(rig):
    """Full for 5 s: children are refused at each of the intervals at which they are started."""
    kiosk = rig.start()
    clients = ExitStack()

    def connect(times):
        for _ in range(times):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(rig.server.address.removeprefix("unix:"))

    def refuse():
        connect(CLIENTS)
        os.kill(kiosk.child_of("user"), signal.SIGKILL)
        deadline_ns = raw_now_ns() + ChildLimits().first_retry_ns
        while raw_now_ns() < deadline_ns:  # its place is free as soon as the server has noticed
            connect(1)
            time.sleep(0.01)

    def admit():
        clients.close()
        return raw_now_ns()

    fault = rig.break_and_mend(kiosk, refuse, admit, down_s=5.0)
    tracks = kiosk.finish()
    rig.expect_untouched(tracks["bot"])
    rig.expect_silence_only_for([fault], tracks["user"], reasons={"absent"})


def test_a_source_of_another_rate_than_it_says_is_recorded_with_its_own(rig, machine):
    """A rate is told by five windows of a second."""
    rig.mic.unplug()
    rig.mic.plug_in(44_100, says=48_000)
    began_ns = raw_now_ns()
    kiosk = rig.start()
    found_s = (kiosk.wait_for_fault("absent", restarts=0) - began_ns) / 1e9
    kiosk.wait_until(user="running")
    kiosk.wait_for_audio(SETTLES_S)
    tracks = kiosk.finish()
    rig.expect_untouched(tracks["bot"])
    rig.expect_own_rate(tracks["user"])
    limit_s = STARTED_S + WINDOWS * (WINDOW_NS / 1e9 + PAIR_S)
    what = "device: start to a rate that is not its own"
    machine.note(what, found_s, "s", limit=limit_s, since_ns=began_ns)


@ON_BOTH
def test_a_default_device_is_followed_when_the_default_changes(rig):
    """Real audio before and behind the change, of two servers and a recorder that start."""
    rig.server.pactl("set-default-source", "mic")
    kiosk = rig.start(device=None)
    change = partial(rig.server.pactl, "set-default-source", "wrong")
    fault = rig.break_and_mend(kiosk, change, raw_now_ns, down_s=0.0)
    tracks = kiosk.finish()
    rig.expect_untouched(tracks["bot"])
    rig.expect_silence_only_for([fault], tracks["user"], reasons={"source", "absent"}, after=WRONG)


def test_a_device_that_is_named_stays_and_pays_once_for_having_been_the_default(rig):
    """The default changes three times, with audio in between."""
    rig.server.pactl("set-default-source", "mic")
    kiosk = rig.start()
    change = partial(rig.server.pactl, "set-default-source", "wrong")
    fault = rig.break_and_mend(kiosk, change, raw_now_ns, down_s=0.0)
    for default in ("mic", "wrong"):
        rig.server.pactl("set-default-source", default)
        kiosk.wait_for_audio(1.0)
    tracks = kiosk.finish()
    rig.expect_untouched(tracks["bot"])
    rig.expect_silence_only_for([fault], tracks["user"], reasons={"source", "absent"})

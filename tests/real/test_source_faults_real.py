"""Devices that go, stall, are swapped or refused: what is found, recorded, and how exactly.

`pytest -rP` shows what was measured.
"""

import os
import signal
import socket
import time
from contextlib import ExitStack
from functools import partial

import pytest

from edgerec.capture.child import ChildLimits
from edgerec.capture.pace import WINDOW_NS, WINDOWS
from edgerec.capture.portaudio import SERVER_BLOCK_MS
from edgerec.clock import raw_now_ns
from tests.rigs.outages import (
    FOUND_S,
    MISPLACED_S,
    RIGHT,
    WRONG,
    break_and_mend,
    is_right,
    is_silent_only_for,
    is_untouched,
    later_s,
)
from tests.rigs.sound_server import ON_BOTH
from tests.rigs.true_microphone import SETTLES_S

pytestmark = pytest.mark.real

PAIR_S = 2 * SERVER_BLOCK_MS / 1000  # blocks come two at a time
STEADY_BYTES = 4 << 20
"""Of all processes together: less than one of them more, and room for the ring, whose pages are
there when it first fills: 0.1 MB a second."""
CLIENTS = 64  # that a server has at most


def test_a_source_that_goes_is_a_gap_and_what_the_same_server_has_besides_is_untouched(rig):
    kiosk = rig.start(same_server=True)
    faults, bytes_then = [], []
    for rate in (48_000, 44_100, 48_000):
        plug_in = partial(rig.mic.plug_in, rate)
        faults.append(break_and_mend(kiosk, rig.mic.unplug, plug_in, down_s=1.0))
        bytes_then.append(kiosk.anonymous_bytes())
    tracks = kiosk.finish()
    print(bytes_then)
    assert bytes_then[-1] - bytes_then[0] < STEADY_BYTES
    is_untouched(tracks["bot"], mic=rig.mic)
    is_silent_only_for(faults, tracks["user"], mic=rig.mic, reasons={"source", "absent"})


def test_a_source_that_is_back_at_once_is_not_taken_for_one_that_never_left(rig):
    kiosk = rig.start()

    def flap():
        rig.mic.unplug()
        rig.mic.plug_in()

    fault = break_and_mend(kiosk, flap, raw_now_ns, down_s=0.0)
    tracks = kiosk.finish()
    is_untouched(tracks["bot"], mic=rig.mic)
    is_silent_only_for([fault], tracks["user"], mic=rig.mic, reasons={"source", "absent"})


def test_a_source_that_silently_stops_is_a_stall_and_nobody_spins(rig):
    kiosk = rig.start()

    def suspend(*, state):
        rig.server.pactl("suspend-source", rig.mic.name, str(int(state)))
        return raw_now_ns()

    fault = break_and_mend(
        kiosk, partial(suspend, state=True), partial(suspend, state=False),
        down_s=6.0, name="stalled",
    )  # fmt: skip
    tracks = kiosk.finish()
    is_untouched(tracks["bot"], mic=rig.mic)
    is_silent_only_for([fault], tracks["user"], mic=rig.mic, reasons={"stall", "absent"})


@ON_BOTH
def test_a_server_that_is_killed_is_recorded_again_when_it_is_back(rig):
    kiosk = rig.start()
    fault = break_and_mend(kiosk, rig.server.kill, rig.start_server_again, down_s=3.0)
    tracks = kiosk.finish()
    is_untouched(tracks["bot"], mic=rig.mic)
    is_silent_only_for([fault], tracks["user"], mic=rig.mic, reasons={"absent"})


def test_a_server_that_stands_still_for_20_s_is_recorded_again_when_it_goes_on(rig):
    kiosk = rig.start()

    def thaw():
        rig.server.signal(signal.SIGCONT)
        return raw_now_ns()

    freeze = partial(rig.server.signal, signal.SIGSTOP)
    fault = break_and_mend(kiosk, freeze, thaw, down_s=20.0 - FOUND_S, name="stalled")
    tracks = kiosk.finish()
    is_untouched(tracks["bot"], mic=rig.mic)
    is_silent_only_for([fault], tracks["user"], mic=rig.mic, reasons={"stall", "absent"})


def test_a_server_that_takes_no_more_clients_is_asked_until_it_does(rig):
    kiosk = rig.start()
    clients = ExitStack()

    def connect(times):
        for _ in range(times):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(rig.server.env["PULSE_SERVER"].removeprefix("unix:"))

    def refuse():
        connect(CLIENTS)
        (child,) = (pid for pid, command in kiosk.processes().items() if "track=user" in command)
        os.kill(child, signal.SIGKILL)
        deadline_ns = raw_now_ns() + ChildLimits().first_retry_ns
        while raw_now_ns() < deadline_ns:  # its place is free as soon as the server has noticed
            connect(1)
            time.sleep(0.01)

    def admit():
        clients.close()
        return raw_now_ns()

    fault = break_and_mend(kiosk, refuse, admit, down_s=5.0)
    tracks = kiosk.finish()
    is_untouched(tracks["bot"], mic=rig.mic)
    is_silent_only_for([fault], tracks["user"], mic=rig.mic, reasons={"absent"})


def test_a_source_of_another_rate_than_it_says_is_recorded_with_its_own(rig):
    rig.mic.unplug()
    rig.mic.plug_in(44_100, says=48_000)
    kiosk = rig.start()
    settled_ns = raw_now_ns()
    found_s = SETTLES_S + (kiosk.wait_until(user="absent") - settled_ns) / 1e9
    kiosk.wait_until(user="running")
    time.sleep(SETTLES_S)
    tracks = kiosk.finish()
    is_untouched(tracks["bot"], mic=rig.mic)
    behind = tracks["user"].stretches(RIGHT)[-1]
    is_right(behind)
    misplaced_s = abs(later_s(behind.late_s, behind.late_s[0])).max()
    print(f"found after {found_s:.2f} s, then {1000 * misplaced_s:.1f} ms off")
    assert found_s <= WINDOWS * (WINDOW_NS / 1e9 + PAIR_S)
    assert misplaced_s <= MISPLACED_S + rig.mic.late_s


@ON_BOTH
def test_a_default_device_is_followed_when_the_default_changes(rig):
    rig.server.pactl("set-default-source", "mic")
    kiosk = rig.start(device=None)
    change = partial(rig.server.pactl, "set-default-source", "wrong")
    fault = break_and_mend(kiosk, change, raw_now_ns, down_s=0.0)
    tracks = kiosk.finish()
    is_untouched(tracks["bot"], mic=rig.mic)
    is_silent_only_for(
        [fault], tracks["user"], mic=rig.mic, reasons={"source", "absent"}, after=WRONG
    )


def test_a_device_that_is_named_stays_and_pays_once_for_having_been_the_default(rig):
    rig.server.pactl("set-default-source", "mic")
    kiosk = rig.start()
    change = partial(rig.server.pactl, "set-default-source", "wrong")
    fault = break_and_mend(kiosk, change, raw_now_ns, down_s=0.0)
    for default in ("mic", "wrong"):
        rig.server.pactl("set-default-source", default)
        time.sleep(1.0)
    tracks = kiosk.finish()
    is_untouched(tracks["bot"], mic=rig.mic)
    is_silent_only_for([fault], tracks["user"], mic=rig.mic, reasons={"source", "absent"})

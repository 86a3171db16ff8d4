"""`edgerec run` on real PortAudio, ALSA and a sound server: what was played is in the files."""

import os
import signal

import pytest

from edgerec.clock import raw_now_ns
from tests.rigs.outages import GROSSLY_S, MISPLACED_S, later_s
from tests.rigs.played_kiosk import PlayedKiosk
from tests.rigs.recorded_kiosk import SETTLES_S
from tests.rigs.sound_server import ON_BOTH
from tests.rigs.true_sound import RATE

pytestmark = pytest.mark.real

PLAYED_S = 5.0
KNOWN_S = 40.0  # by then the devices' clocks are known as well as a sound server lets them be
WHOLE_S = 2.0
LATE_S = 0.1  # more than any date of a sound server is off by


@pytest.fixture
def kiosk(sound_server, tmp_path, machine):
    kiosk = PlayedKiosk(sound_server, tmp_path, machine)
    yield kiosk
    kiosk.close()


@ON_BOTH
def test_what_is_played_is_recorded_user_left_and_bot_right_without_a_gap(kiosk, figures):
    """Starts a server, two players and a recorder, and hears some seconds of each."""
    kiosk.settle()
    if figures.are_held:
        kiosk.wait_for_audio(KNOWN_S)
    begins = kiosk.play(PLAYED_S)
    tracks = kiosk.finish()
    for name, track in tracks.items():
        kiosk.expect_no_gap(track)
        kiosk.expect_heard(name, tracks, begins, round(PLAYED_S * RATE))


def test_a_device_that_stalls_is_a_gap_as_long_as_what_is_missing_and_the_other_has_none(
    kiosk, machine
):
    """A child that is stopped is given up after 1.2 s, and the next one needs seconds to begin."""
    kiosk.settle()
    kiosk.play(WHOLE_S)
    began_ns = raw_now_ns()
    os.kill(kiosk.child_of("user"), signal.SIGSTOP)  # what it will be killed for
    kiosk.wait_for_fault("stalled", restarts=0)
    kiosk.wait_until(user="running")
    kiosk.wait_for_audio(SETTLES_S + WHOLE_S)
    tracks = kiosk.finish()
    kiosk.expect_no_gap(tracks["bot"])
    user = tracks["user"]
    others = {reason for _, _, reason in user.gaps} - {"stall", "absent"}
    if others:  # frames that a busy machine has lost or dated late
        machine.explain(f"gaps for {others}", began_ns, raw_now_ns(), stall_s=LATE_S)
    ((start, stop),) = user.outages()
    assert not user.samples[start:stop].any()
    frames = round(WHOLE_S * RATE)
    before = kiosk.expect_heard("user", tracks, start - frames, frames)
    behind = kiosk.expect_heard("user", tracks, len(user.samples) - frames, frames)
    misplaced_s, since_ns = abs(later_s(behind[-1], before[-1])), user.instant_ns(start)
    what, limit_ms = "played: misplaced when it is back", 1000 * MISPLACED_S
    machine.note(what, 1000 * misplaced_s, "ms", limit=limit_ms, since_ns=since_ns)
    if misplaced_s > GROSSLY_S:  # unless it is a player that was late meanwhile
        machine.explain(what, since_ns, raw_now_ns(), stall_s=misplaced_s)

"""`edgerec` on a real PipeWire and WirePlumber, of which ALSA and `pactl` see a PulseAudio.

The tests here have bounds of their own; those that are the same on PulseAudio are beside it:
`pytest -k pipewire tests/real` has them all. `-rP` shows what was measured.
"""

import json
import subprocess
import sys

import pytest

from edgerec.clock import raw_now_ns
from tests.rigs.outages import Fault
from tests.rigs.recorded_kiosk import SETTLES_S
from tests.rigs.waiting import PATIENCE_S

pytestmark = pytest.mark.real

MOVED_S = 2.0  # a stream, if it is to be: 0.1 to 0.4 s were measured


@pytest.fixture
def is_pipewire():
    return True


def edgerec(*arguments):
    command = [sys.executable, "-m", "edgerec", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=PATIENCE_S
    ).stdout


def test_what_there_is_to_record_is_told_and_what_to_write_for_the_loudspeaker(sound_server):
    devices = {one["id"]: one for one in json.loads(edgerec("devices", "--json"))}
    microphone, monitor = devices["pulse:kiosk_mic"], devices["pulse:kiosk_speaker.monitor"]
    assert microphone["is_pipewire"]
    assert (microphone["channels"], microphone["loopback"]) == (1, None)
    assert monitor["is_pipewire"]
    assert (monitor["channels"], monitor["sample_rate"]) == (2, 48_000)
    assert "monitor" in monitor["loopback"]
    told = edgerec("loopback")
    assert "found: PipeWire; what is played goes to kiosk_speaker" in told
    assert "bot: {device: 'pulse:kiosk_speaker.monitor', channels: 2}" in told


def test_a_source_that_goes_is_a_gap_and_what_the_same_server_has_besides_is_untouched(rig):
    kiosk = rig.start(same_server=True)
    fault = rig.break_and_mend(kiosk, rig.mic.unplug, rig.mic.plug_in, down_s=1.0)
    tracks = kiosk.finish()
    rig.expect_untouched(tracks["bot"])
    rig.expect_silence_only_for([fault], tracks["user"], reasons={"source", "absent"})


def test_a_device_that_is_named_stays_or_is_found_again_when_another_becomes_the_default(rig):
    """PipeWire 0.3 moves its stream away, so that there is a gap; 1.4 leaves it where it is."""
    rig.server.pactl("set-default-source", "mic")
    kiosk = rig.start()
    began_ns = raw_now_ns()
    rig.server.pactl("set-default-source", "wrong")
    moved_ns = raw_now_ns()
    kiosk.wait_for_audio(MOVED_S)
    kiosk.wait_until(user="running")
    kiosk.wait_for_audio(SETTLES_S)
    tracks = kiosk.finish()
    rig.expect_untouched(tracks["bot"])
    if tracks["user"].outages():
        fault = Fault(began_ns, moved_ns, moved_ns)
        rig.expect_silence_only_for([fault], tracks["user"], reasons={"source", "absent"})
    else:
        rig.expect_untouched(tracks["user"])

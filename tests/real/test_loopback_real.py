"""`edgerec loopback` on a real sound server, and its asound.conf read by ALSA itself."""

import os
import re
import subprocess
import sys

import pytest

from edgerec.clock import raw_now_ns
from edgerec.doctor.loopback import asound_conf
from tests.rigs.waiting import PATIENCE_S

pytestmark = pytest.mark.real

TORN_S = 0.2  # of a player, a server or a recorder: a sweep is torn by that


def test_the_monitor_of_the_default_sink_is_found_and_proved(sound_server, machine):
    """Plays the ten seconds that a technician hears."""
    began_ns = raw_now_ns()
    sound_server.pactl("set-default-sink", "kiosk_speaker")
    command = [sys.executable, "-m", "edgerec", "loopback", "--test"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert "pulse:kiosk_speaker.monitor" in done.stdout
    if done.returncode != 0:
        machine.explain(f"not proved: {done}", began_ns, raw_now_ns(), stall_s=TORN_S)
    assert "test: the bot track records the loudspeaker" in done.stdout


def test_alsa_reads_the_file_as_it_is_meant(tmp_path):
    """With null devices in the place of the cards, of which there are none."""
    text = asound_conf("Device,0", "Mic,0", "Loopback")
    conf = tmp_path / "asound.conf"
    conf.write_text(re.sub(r'pcm "hw:[^"]*"', "pcm { type null }", text))
    sound = tmp_path / "sound.raw"
    sound.write_bytes(bytes(4 * 48_000))
    player = subprocess.Popen(
        ["aplay", "-v", "-D", "default", "-f", "cd", "-r", "48000", sound],
        env=os.environ | {"ALSA_CONFIG_PATH": f"/usr/share/alsa/alsa.conf:{conf}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        lines = []
        for line in player.stdout:
            lines.append(line.strip())
            if line.startswith("Slave #0"):
                break
    finally:
        player.kill()  # null devices are never ready
        player.communicate(timeout=PATIENCE_S)
    told = "\n".join(lines)
    assert "0 <- 0\n1 <- 1\n2 <- 0\n3 <- 1" in told
    assert "0: slave 0, channel 0\n1: slave 0, channel 1\n2: slave 1, channel 0" in told

"""`edgerec doctor --chirp` on a sound server whose microphone hears its loudspeaker."""

import json
import re
import subprocess
import sys

import pytest

from tests.rigs.sound_server import ON_BOTH

pytestmark = pytest.mark.real

PATIENCE_S = 120.0


def doctor(folder, user, bot):
    """Run it; return its exit status and its findings."""
    config = folder / "edgerec.yaml"
    config.write_text(
        f"tracks: {{user: {{device: '{user}'}}, bot: {{device: '{bot}'}}}}\n"
        f"storage: {{root: {folder}/root}}\ncontrol: {{socket: {folder}/control.sock}}\n"
    )
    command = [sys.executable, "-m", "edgerec", "doctor", "--chirp", "--json", "--config", config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return done.returncode, json.loads(done.stdout)["findings"]


def of(area, findings):
    return [one for one in findings if one["area"] == area]


@ON_BOTH
def test_the_chain_is_proved_and_the_delay_of_the_microphone_offered(
    sound_server, is_pipewire, tmp_path
):
    echo = ("source=kiosk_speaker.monitor", "sink=kiosk_mic_feed", "latency_msec=60")
    sound_server.pactl("load-module", "module-loopback", *echo)
    _, findings = doctor(tmp_path, "pulse:kiosk_mic", "pulse:kiosk_speaker.monitor")
    found = of("device", findings)
    assert [one["severity"] for one in found] == ["ok", "ok"], found
    server = "PipeWire" if is_pipewire else "PulseAudio"
    assert all(one["told"].endswith(f" channels, {server}") for one in found)
    heard = of("chirp", findings)
    assert [one["severity"] for one in heard[:2]] == ["ok", "ok"], heard
    offered = re.search(r"tracks.user.offset_ms to ([\d.]+)", heard[2]["fix"])
    # A null sink renders when it likes: the module's 60 ms are a wish.
    assert 30 < float(offered[1]) < 500


def test_a_loopback_that_hears_another_sink_is_a_failure(sound_server, tmp_path):
    sound_server.pactl("load-module", "module-null-sink", "sink_name=other", "rate=48000")
    status, findings = doctor(tmp_path, "pulse:other.monitor", "pulse:kiosk_speaker.monitor")
    loopback, microphone, *_ = of("chirp", findings)
    assert loopback["severity"] == "ok"
    assert microphone["told"] == "the microphone does not hear the loudspeaker"
    assert status in (1, 3)

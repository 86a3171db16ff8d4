"""`edgerec doctor --chirp` on a sound server whose microphone hears its loudspeaker."""

import json
import re
import subprocess
import sys

import pytest

from edgerec.clock import raw_now_ns
from edgerec.health.chirp_log import FILE, read_chirps
from tests.rigs.sound_server import ON_BOTH
from tests.rigs.waiting import PATIENCE_S

pytestmark = pytest.mark.real

TORN_S = 0.2  # of a player, a server or a recorder: a sweep is torn by that


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
    sound_server, is_pipewire, machine, tmp_path
):
    """Plays the ten seconds that a technician hears."""
    began_ns = raw_now_ns()
    echo = ("source=kiosk_speaker.monitor", "sink=kiosk_mic_feed", "latency_msec=60")
    sound_server.pactl("load-module", "module-loopback", *echo)
    state = tmp_path / "root" / ".state"
    state.mkdir(parents=True)  # as of a recorder that has been here
    _, findings = doctor(tmp_path, "pulse:kiosk_mic", "pulse:kiosk_speaker.monitor")
    found = of("device", findings)
    assert [one["severity"] for one in found] == ["ok", "ok"], found
    server = "PipeWire" if is_pipewire else "PulseAudio"
    assert all(one["told"].endswith(f" channels, {server}") for one in found)
    heard = of("chirp", findings)
    if [one["severity"] for one in heard[:2]] != ["ok", "ok"]:
        machine.explain(f"not heard: {heard}", began_ns, raw_now_ns(), stall_s=TORN_S)
    offered_ms = float(re.search(r"tracks.user.offset_ms to ([\d.]+)", heard[2]["fix"])[1])
    # A null sink renders when it likes: the module's 60 ms are a wish.
    assert offered_ms > 30
    (chirp,) = read_chirps(state / FILE)
    assert chirp.delay_ms == pytest.approx(offered_ms, abs=0.1)
    machine.note("doctor: offset offered", offered_ms, "ms", limit=500.0, since_ns=began_ns)


def test_a_loopback_that_hears_another_sink_is_a_failure(sound_server, machine, tmp_path):
    """Plays the ten seconds that a technician hears."""
    began_ns = raw_now_ns()
    sound_server.pactl("load-module", "module-null-sink", "sink_name=other", "rate=48000")
    status, findings = doctor(tmp_path, "pulse:other.monitor", "pulse:kiosk_speaker.monitor")
    loopback, microphone, *_ = of("chirp", findings)
    if loopback["severity"] != "ok":
        machine.explain(f"not heard: {loopback}", began_ns, raw_now_ns(), stall_s=TORN_S)
    assert microphone["told"] == "the microphone does not hear the loudspeaker"
    assert status in (1, 3)

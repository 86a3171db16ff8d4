"""`edgerec doctor --chirp` and `--alignment` on a server whose microphone hears its loudspeaker."""

import json
import re
import subprocess
import sys

import pytest

from edgerec.clock import raw_now_ns
from edgerec.health.echo_memory import CHIRP_FILE, read_chirps
from tests.rigs.sound_server import ON_BOTH
from tests.rigs.waiting import PATIENCE_S

pytestmark = pytest.mark.real

TRUE_MS = 300.0  # more than any error stated
TORN_S = 0.2  # of a player, a server or a recorder: a sweep is torn by that


def doctor(folder, user, bot, played="--chirp", user_offset_ms=0):
    """Run it; return its exit status and its findings."""
    config = folder / "edgerec.yaml"
    config.write_text(
        f"tracks: {{user: {{device: '{user}', offset_ms: {user_offset_ms}}},\n"
        f"  bot: {{device: '{bot}'}}}}\n"
        f"storage: {{root: {folder}/root}}\ncontrol: {{socket: {folder}/control.sock}}\n"
    )
    command = [sys.executable, "-m", "edgerec", "doctor", played, "--json", "--config", config]
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
    (chirp,) = read_chirps(state / CHIRP_FILE)
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


@ON_BOTH
def test_the_stated_error_of_the_alignment_covers_the_true_one(sound_server, machine, tmp_path):
    """Plays 20 s of sweeps, as an owner of cards does.

    One sink heard by its monitor and through a remap source is a cable: its truth is what the
    configuration puts the tracks apart, whatever the server says.
    """
    began_ns = raw_now_ns()
    _, findings = doctor(
        tmp_path, "pulse:kiosk_mic", "pulse:kiosk_mic_feed.monitor", "--alignment", -TRUE_MS
    )
    last = of("alignment", findings)[-1]
    stated = re.match(r"the user track is ([\d.]+) ms later .* or take ([\d.]+)", last["told"])
    if stated is None:
        machine.explain(f"not measured: {findings}", began_ns, raw_now_ns(), stall_s=TORN_S)
    measured_ms, error_ms = map(float, stated.groups())
    off_ms = abs(measured_ms - TRUE_MS)
    machine.note("doctor: offset measured off by", off_ms, "ms", limit=1.0, since_ns=began_ns)
    if off_ms > error_ms:
        machine.explain(f"not covered: {last}", began_ns, raw_now_ns(), stall_s=off_ms / 1e3)
    if last["severity"] != "warning":  # the tracks moved, and nothing is offered
        offered_ms = float(re.search(r"tracks.user.offset_ms to (-?[\d.]+)", last["fix"])[1])
        assert offered_ms == pytest.approx(measured_ms - TRUE_MS, abs=0.06)  # rounded to 0.1

"""The right source, or none, where ALSA's default is PipeWire's own plug-in (pipewire-alsa).

That package takes PulseAudio's place, so most machines can't run this; `test_debians_real` does so
in a Debian that has it.
"""

import re
from pathlib import Path

import pytest

from edgerec.clock import raw_now_ns
from tests.rigs.recorded_kiosk import Kiosk
from tests.rigs.tones import Tones, heard, in_order
from tests.rigs.waiting import wait_for

ALSA_DEFAULT = Path("/etc/alsa/conf.d/99-pipewire-default.conf")

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not ALSA_DEFAULT.exists(), reason="ALSA's default is not PipeWire's"),
]

LATE_S = 2.0  # a silence is written that much later; 0.8 s make holes on a busy machine
LONG_S = 1.0  # of audio: a source that is recorded, rightly or wrongly, shows
LEAKS_S = 0.2  # a machine that was so late may have answered too late who records what
FOLLOWED = re.compile("m[.]o[.]m")
NAMED = re.compile("m[.](m[.])?m")  # the default's change costs PipeWire's own stream a gap


@pytest.fixture
def is_pipewire():
    return True


@pytest.fixture
def tones(sound_server):
    """Microphones and a loudspeaker that can be told apart."""
    tones = Tones(sound_server)
    yield tones
    tones.close()


@pytest.mark.parametrize("device", [None, "default", "pulse", "kiosk_mic", "pulse:kiosk_mic"])
def test_no_other_source_than_its_own_is_recorded_as_the_user(
    device, tmp_path, sound_server, tones, machine
):
    """Real audio before, between and behind two faults: it begins with the default microphone.

    The default moves to another one; then the nodes of both are destroyed, so that the loudspeaker
    is all that is left; then the first one is back.
    """
    follows = device in (None, "default", "pulse")
    sound_server.pactl("set-default-source", "kiosk_mic")
    devices = {"user": device, "bot": "pulse:kiosk_speaker.monitor"}
    settings = {
        track: {"source": "portaudio", "device": name, "channels": 1}
        for track, name in devices.items()
    }
    servers = dict.fromkeys(devices, sound_server)
    kiosk = Kiosk(tmp_path, machine, servers, settings, is_patient=False, late_seconds=LATE_S)
    try:
        kiosk.settle(LONG_S)
        began_ns = raw_now_ns()
        restarts = kiosk.restarts()
        sound_server.pactl("set-default-source", "other")
        if follows:
            kiosk.wait_for_fault("absent", restarts)
        else:
            kiosk.wait_for_audio(LONG_S)
        kiosk.wait_until(user="running")
        kiosk.wait_for_audio(LONG_S)
        for microphone in ("other", "kiosk_mic"):
            tones.destroy(microphone)
        refused = "the monitor of a loudspeaker|no input device named|kiosk_mic"
        wait_for(
            lambda: re.search(refused, kiosk.status()["tracks"]["user"]["detail"]),
            why=lambda: f"waited for a refusal, and not: {kiosk.status()['tracks']['user']}",
        )
        kiosk.wait_for_audio(LONG_S)
        tones.plug_in("kiosk_mic")
        kiosk.wait_until(user="running")
        kiosk.wait_for_audio(LONG_S)
        tracks = kiosk.finish()
    finally:
        kiosk.close()
    user, bot = heard(tracks["user"]), heard(tracks["bot"])
    print(f"user {user}\nbot  {bot}")
    allowed = FOLLOWED if follows else NAMED
    if not allowed.fullmatch(in_order(user)) or set(bot) - set("L~"):
        problem = f"what is heard is not what was there: user {user}, bot {bot}"
        machine.explain(problem, began_ns, raw_now_ns(), stall_s=LEAKS_S)

"""What a capture child settles with the sound server before it opens a device."""

from dataclasses import replace

import pytest

from edgerec.capture.devices import server_stream
from edgerec.capture.devices.catalog import DeviceError, DeviceInfo
from edgerec.capture.devices.pcm_name import PcmTarget
from edgerec.capture.devices.server_answers import ServerSource
from edgerec.capture.devices.server_stream import (
    Server,
    as_served,
    introduce,
    prepare_stream,
    server_source,
)
from edgerec.capture.devices.sound_server import SoundServerError

CARD = DeviceInfo("alsa:Mic,0", "Mic: USB (hw:1,0)", "ALSA", 0, 48_000, 1, True)
PCM = DeviceInfo("default", "default", "ALSA", 1, 44_100, 64, True)
SOURCE = replace(PCM, id="pulse:mic", name="Microphone", pulse_source="mic")
SERVED = replace(SOURCE, is_served=True)
MONITOR = replace(SOURCE, id="pulse:speaker.monitor", pulse_source="speaker.monitor")


@pytest.fixture
def leads_to(monkeypatch):
    """Have the PCM `default` lead to what a test says."""

    def lead(target):
        monkeypatch.setattr(server_stream, "resolve_pcm", {"default": target}.__getitem__)

    return lead


@pytest.mark.parametrize(
    ("target", "source"),
    [
        (PcmTarget("pulse"), ""),
        (PcmTarget("pulse", "mic"), "mic"),
        (PcmTarget("pipewire"), ""),
        (PcmTarget("pipewire", "mic"), "mic"),
        (PcmTarget("hw"), None),
        (None, None),
    ],
)
def test_a_pcm_is_the_source_that_its_plug_in_asks_a_server_for(target, source, leads_to):
    leads_to(target)
    assert server_source(PCM, {}) == source


def test_the_environment_may_name_the_source_of_a_pcm(leads_to):
    leads_to(PcmTarget("pulse"))
    assert server_source(PCM, {"PULSE_SOURCE": "mic"}) == "mic"


def test_a_source_is_itself_and_a_card_none_and_no_configuration_is_read_for_them(leads_to):
    leads_to(PcmTarget("pulse", "another"))
    assert server_source(SOURCE, {"PULSE_SOURCE": "another"}) == "mic"
    assert server_source(CARD, {}) is None
    assert server_source(replace(PCM, host_api="OSS"), {}) is None


def test_a_server_that_a_pcm_names_is_the_one_that_is_asked(leads_to):
    leads_to(PcmTarget("pulse", server="unix:/far"))
    env = {"PULSE_SERVER": "unix:/near"}
    prepare_stream("user", PCM, env, Answers())
    assert env["PULSE_SERVER"] == "unix:/far"


@pytest.fixture
def default(tmp_path, monkeypatch):
    """Have ALSA's default lead to a sound server's."""
    (tmp_path / "asound.conf").write_text("pcm.default { type pipewire }")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))


class Answers:
    """A server that answers what a test says."""

    def __init__(self, default=None, names=()):
        self.default = default
        self.names = list(names)

    def default_source(self):
        return self.default

    def sources(self):
        return [ServerSource(name, name, 16_000, 6, False, False) for name in self.names]


@pytest.mark.usefixtures("default")
def test_a_default_that_is_a_monitor_is_not_opened_for_the_user():
    server = Answers("speaker.monitor")
    with pytest.raises(DeviceError, match=r"default source is speaker\.monitor") as refused:
        prepare_stream("user", PCM, {}, server)
    assert "tracks.user.device" in refused.value.hint
    assert prepare_stream("bot", PCM, {}, server) == ""


@pytest.mark.usefixtures("default")
@pytest.mark.parametrize("answer", ["mic", None])
def test_a_default_that_is_a_microphone_or_unknown_is_opened(answer):
    assert prepare_stream("user", PCM, {}, Answers(answer)) == ""


@pytest.mark.usefixtures("default")
def test_a_pcm_whose_source_has_gone_is_not_opened():
    env = {"PIPEWIRE_NODE": "mic"}
    assert prepare_stream("user", PCM, dict(env), Answers(names=["mic"])) == "mic"
    assert prepare_stream("user", PCM, dict(env), Answers()) == "mic"  # nobody knows
    with pytest.raises(DeviceError, match="default leads to the source mic, which") as refused:
        prepare_stream("user", PCM, dict(env), Answers(names=["other", "speaker.monitor"]))
    assert refused.value.hint == "it has: other, speaker.monitor"


def test_a_monitor_that_is_named_is_opened():
    assert prepare_stream("user", MONITOR, {}, Answers("speaker.monitor")) == "speaker.monitor"


def test_the_server_is_asked_and_rubbish_is_no_answer(monkeypatch):
    sources = [ServerSource("mic", "Microphone", 48_000, 1, False, True)]
    monkeypatch.setattr(server_stream, "read_sources", lambda: sources)
    monkeypatch.setattr(server_stream, "read_default_source", lambda: "mic")
    assert (Server().sources(), Server().default_source()) == (sources, "mic")

    def rubbish():
        raise SoundServerError("rubbish")

    monkeypatch.setattr(server_stream, "read_sources", rubbish)
    monkeypatch.setattr(server_stream, "read_default_source", rubbish)
    assert (Server().sources(), Server().default_source()) == ([], None)


@pytest.mark.parametrize(("source", "default"), [("mic", None), ("", "mic")])
def test_what_leads_to_a_source_is_opened_with_its_rate(source, default):
    device = as_served(PCM, source, Answers(default, ["other", "mic"]))
    assert (device.sample_rate, device.is_served) == (16_000, True)
    assert (device.id, device.index, device.channels) == (PCM.id, PCM.index, PCM.channels)


@pytest.mark.parametrize("device", [PCM, SERVED])
@pytest.mark.parametrize(("source", "names"), [(None, ["mic"]), ("gone", ["mic"]), ("", [])])
def test_what_nothing_more_is_known_of_stays_as_it_is(device, source, names):
    assert as_served(device, source, Answers(None, names)) == device


def test_a_sound_server_s_stream_says_whose_it_is_and_a_card_s_nothing():
    env = {}
    assert prepare_stream("user", CARD, env, Answers()) is None
    assert env == {}
    introduce("bot", 7, env)
    assert env == {"PIPEWIRE_ALSA": '{ application.process.id = 7 node.name = "edgerec-bot" }'}


def test_what_the_configuration_sets_there_is_left_alone():
    env = {"PIPEWIRE_ALSA": "{ node.name = mine }"}
    introduce("user", 7, env)
    assert env == {"PIPEWIRE_ALSA": "{ node.name = mine }"}

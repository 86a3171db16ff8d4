"""What PCM names lead to is read by ALSA's own library, from configurations of the test's own."""

import os

import pytest

from edgerec.capture.devices import pcm_name
from edgerec.capture.devices.pcm_name import PcmTarget, resolve_pcm, source_of_pcm

DEFINED = """
pcm.mic { type pulse device "mic" }
pcm.soft { type softvol slave.pcm "mic" control.name volume }
pcm_slave.soft { pcm "soft" rate 48000 }
pcm.by_slave { type plug slave "soft" }
pcm.!default { type asym playback.pcm "null" capture.pcm { type plug slave.pcm "pulse" } }
pcm.pulse { type pulse device "" }
pcm.pipewire { @args [ NODE ] @args.NODE { type string default "-1" }
               type pipewire server "pipewire-0" capture_node $NODE }
pcm.far { type pulse server "far" }
pcm.numbered { type pipewire capture_node 42 }
pcm.alias "mic"
pcm.shared { type plug slave.pcm { type dsnoop ipc_key 1 slave.pcm "hw" } }
pcm.hw { type hw card 0 }
pcm.null { type null }
pcm.circle { type plug slave.pcm "circle" }
pcm.typeless { comment "x" }
"""
PULSE, PIPEWIRE = PcmTarget("pulse"), PcmTarget("pipewire")


@pytest.fixture(autouse=True)
def _configuration(tmp_path, monkeypatch):
    (tmp_path / "asound.conf").write_text(DEFINED)
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(tmp_path / "asound.conf"))


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("mic", PcmTarget("pulse", "mic")),
        ("soft", PcmTarget("pulse", "mic")),
        ("by_slave", PcmTarget("pulse", "mic")),
        ("alias", PcmTarget("pulse", "mic")),
        ("default", PULSE),
        ("pulse", PULSE),
        ("pipewire", PIPEWIRE),
        ("pipewire:NODE=mic", PcmTarget("pipewire", "mic")),
        ("numbered", PcmTarget("pipewire", "42")),
        ("far", PcmTarget("pulse", server="far")),
        ("shared", PcmTarget("hw")),
        ("null", PcmTarget("null")),
    ],
)
def test_a_name_is_followed_to_the_plug_in_at_its_end_and_the_source_it_names(name, target):
    assert resolve_pcm(name) == target


@pytest.mark.parametrize("name", ["unknown", "circle", "typeless", ""])
def test_a_name_that_leads_nowhere_has_no_target_and_prints_nothing(name, capfd):
    assert resolve_pcm(name) is None
    assert capfd.readouterr() == ("", "")


def test_where_there_is_no_alsa_no_name_has_a_target(monkeypatch):
    monkeypatch.setattr(pcm_name, "_LIBRARY", "libnone.so")
    assert resolve_pcm("mic") is None


def test_a_configuration_that_cannot_be_read_has_no_targets(tmp_path):
    (tmp_path / "asound.conf").write_text("pcm.mic {")
    assert resolve_pcm("mic") is None


def test_what_is_configured_later_is_found_too(tmp_path):
    assert resolve_pcm("late") is None
    (tmp_path / "asound.conf").write_text("pcm.late { type pulse }")
    os.utime(tmp_path / "asound.conf", (0, 0))  # ALSA looks at whole seconds
    assert resolve_pcm("late") == PULSE


def test_only_a_plug_in_of_a_sound_server_is_served():
    assert PULSE.is_served and PIPEWIRE.is_served
    assert not PcmTarget("hw").is_served


@pytest.mark.parametrize(
    ("target", "env", "source"),
    [
        (PULSE, {}, None),
        (PULSE, {"PULSE_SOURCE": ""}, None),
        (PULSE, {"PULSE_SOURCE": "mic", "PIPEWIRE_NODE": "other"}, "mic"),
        (PcmTarget("pulse", "mic"), {"PULSE_SOURCE": "other"}, "mic"),
        (PcmTarget("pulse", "@DEFAULT_SOURCE@"), {}, None),
        (PcmTarget("pulse", "3"), {}, None),
        (PIPEWIRE, {"PULSE_SOURCE": "mic"}, None),
        (PcmTarget("pipewire", "mic"), {}, "mic"),
        (PcmTarget("pipewire", "42"), {}, None),
        (PcmTarget("pipewire", "mic"), {"PIPEWIRE_NODE": "other"}, "other"),
        (PIPEWIRE, {"PIPEWIRE_PROPS": '{ target.object = "mic" node.latency = 1/2 }'}, "mic"),
        (PIPEWIRE, {"PIPEWIRE_PROPS": '{"target.object": "mic", "node.name": "x"}'}, "mic"),
        (
            PIPEWIRE,
            {"PIPEWIRE_ALSA": "{ target.object=speaker stream.capture.sink=true }"},
            "speaker.monitor",
        ),
    ],
)
def test_the_environment_may_name_the_source_as_each_plug_in_reads_it(target, env, source):
    assert source_of_pcm(target, env) == source

"""What the doctor makes of the devices that tests have."""

from dataclasses import replace

import pytest

from edgerec.capture.devices import server_stream
from edgerec.capture.devices.catalog import DeviceError, DeviceInfo
from edgerec.capture.devices.pcm_name import PcmTarget
from edgerec.capture.devices.sound_server import NoAnswer, SoundServer
from edgerec.config import Config, TrackConfig, TracksConfig
from edgerec.doctor import device_checkup
from edgerec.doctor.device_checkup import check_devices

MIC = DeviceInfo("alsa:Mic,0", "USB Mic (hw:1,0)", "ALSA", 0, 44_100, 1, True)
LOOPBACK = DeviceInfo("pulse:spk.monitor", "Monitor", "ALSA", 1, 48_000, 2, False, "monitor", "spk")


def devices(user="alsa:Mic,0", bot="pulse:spk.monitor", **settings):
    return Config(
        tracks=TracksConfig(
            user=TrackConfig(device=user, **settings), bot=TrackConfig(device=bot, channels=2)
        )
    )


SIX = DeviceInfo(
    *("pulse:six", "Array", "ALSA", 1, 48_000, 6, False),
    pulse_source="six",
    positions=("front-left", "front-right", "rear-left", "rear-right", "front-center", "lfe"),
)
ODD = replace(SIX, positions=("aux0", "aux1", "top-center", "aux3", "aux4", "aux5"))
ARRAY = DeviceInfo("alsa:Array,0", "Array", "ALSA", 2, 16_000, 6, False)


def found(findings):
    findings = list(findings)
    assert all(f.fix for f in findings if f.severity != "ok"), "every finding has a fix"
    return [(f.severity, f.told) for f in findings]


@pytest.fixture(autouse=True)
def _server(monkeypatch):
    monkeypatch.setattr(
        device_checkup, "why_no_answer", lambda: NoAnswer("it is off", "turn it on")
    )
    serve(monkeypatch, SoundServer(is_pipewire=True, default_sink="spk", default_source="mic"))


def serve(monkeypatch, server):
    """Have a sound server answer, or none, and ALSA's `default` lead to it."""
    monkeypatch.setattr(device_checkup, "read_server", lambda: server)
    monkeypatch.setattr(server_stream, "resolve_pcm", lambda name: PcmTarget("pipewire"))


@pytest.mark.parametrize(("is_pipewire", "server"), [(False, "PulseAudio"), (True, "PipeWire")])
def test_devices_that_are_there_are_told_with_rate_channels_and_server(is_pipewire, server):
    loopback = replace(LOOPBACK, is_pipewire=is_pipewire)
    assert found(check_devices(devices(), lambda: [MIC, loopback])) == [
        ("ok", "user: alsa:Mic,0, 44100 Hz, 1 channels"),
        ("ok", f"bot: pulse:spk.monitor, 48000 Hz, 2 channels, {server}"),
    ]


@pytest.mark.parametrize(
    ("config", "severity", "says"),
    [
        (devices(user="alsa:Gone,0"), "failure", "user: no input device named 'alsa:Gone,0'"),
        (devices(bot="alsa:Mic,0"), "failure", "both tracks record alsa:Mic,0"),
        (devices(user=None), "warning", "user: no device is named"),
        (devices(user="pulse:spk.monitor", bot="alsa:Mic,0"), "warning", "nothing says that"),
        (devices(user="pulse:spk.monitor", bot="alsa:Mic,0"), "warning", "looks like a loopback"),
        (devices(channels=4), "note", "4 channels are asked for, 1 there are"),
        (devices(sample_rate=16_000), "note", "its own rate is 44100 Hz"),
    ],
)
def test_what_is_wrong_with_devices_is_told(config, severity, says):
    told = found(check_devices(config, lambda: [MIC, LOOPBACK]))
    assert any(s == severity and says in text for s, text in told), told


DEFAULT = DeviceInfo("default", "default", "ALSA", 2, 44_100, 64, True)


def test_where_no_server_answers_sources_can_be_swapped_unnoticed_and_it_is_said_why(monkeypatch):
    serve(monkeypatch, None)
    findings = list(check_devices(devices(user="default"), lambda: [DEFAULT, LOOPBACK]))
    missing = "user: a swapped source would go unnoticed: it is off"
    assert ("warning", missing) in found(findings)
    assert "turn it on" in [finding.fix for finding in findings if finding.told == missing]


@pytest.mark.parametrize(
    ("device", "warned"),
    [
        ("hw:1,0", True),
        ("(hw:1,0)", True),
        ("USB Mic (hw:1,0)", True),
        ("alsa:Mic,0", False),
        ("USB Mic", False),
    ],
)
def test_a_device_by_the_number_of_its_card_is_warned_of(device, warned):
    findings = list(check_devices(devices(user=device), lambda: [MIC, LOOPBACK]))
    told = [finding for finding in findings if "number of a card" in finding.told]
    assert [finding.fix for finding in told] == (
        ["set tracks.user.device to 'alsa:Mic,0'"] if warned else []
    )


PORT = "alsa:usb-0000:01:00.0-1.3,0"
TWIN = replace(MIC, id="alsa:Device_1,0", by_order=True, port_id=PORT)


def test_a_twin_by_its_order_of_detection_is_warned_of_with_the_id_of_its_port():
    part = check_devices(devices(user="device_1"), lambda: [TWIN, LOOPBACK])
    assert [finding.severity for finding in part] == ["ok", "warning", "ok"]
    (finding,) = microphone(TWIN, 1)
    assert (finding.severity, finding.told) == (
        "warning",
        "user: the id alsa:Device_1,0 goes by the order in which devices of its kind are detected: "
        "another one may have it tomorrow",
    )
    assert finding.fix.startswith(f"set tracks.user.device to '{PORT}'")


def test_a_twin_whose_port_is_not_known_is_warned_of_with_what_to_do():
    (finding,) = microphone(replace(TWIN, port_id=None), 1)
    assert (finding.severity, "udev rule" in finding.fix) == ("warning", True)


def test_a_twin_by_its_port_and_any_other_device_are_fine():
    user, bot = found(check_devices(devices(user=PORT), lambda: [TWIN, LOOPBACK]))
    assert user == ("ok", f"user: {PORT}, 44100 Hz, 1 channels")
    assert bot[0] == "ok"
    assert microphone(replace(MIC, port_id=PORT), 1) == []
    by_name = list(check_devices(devices(user="USB Mic"), lambda: [TWIN, LOOPBACK]))
    assert [finding.severity for finding in by_name] == ["ok", "ok"]


@pytest.mark.parametrize("device", ["(hw:1,0)", None])
def test_a_twin_that_is_not_named_by_an_id_is_to_be_named_by_its_port(device):
    findings = list(check_devices(devices(user=device), lambda: [TWIN, LOOPBACK]))
    named = [f for f in findings if f.fix and f.fix.startswith("set tracks.user.device to ")]
    assert named
    assert all(f"'{PORT}'" in finding.fix for finding in named)


def test_a_pcm_by_the_number_of_its_card_is_warned_of_too():
    pcm = DeviceInfo("plughw:CARD=1,DEV=0", "plughw:CARD=1,DEV=0", "ALSA", 3, 48_000, 1, False)
    told = found(check_devices(devices(user=pcm.id), lambda: [pcm, LOOPBACK]))
    assert any("number of a card" in text for _, text in told)


def test_what_a_default_leads_to_is_told_and_is_what_to_name():
    findings = list(check_devices(devices(user=None), lambda: [DEFAULT, LOOPBACK]))
    assert ("ok", "user: the sound server's default source is mic") in found(findings)
    (unnamed,) = (finding for finding in findings if "no device is named" in finding.told)
    assert unnamed.fix == "set tracks.user.device to 'pulse:mic'"


@pytest.mark.parametrize("device", [None, "default"])
def test_a_default_that_leads_to_a_monitor_is_a_failure_for_the_user(device, monkeypatch):
    serve(
        monkeypatch, SoundServer(is_pipewire=True, default_sink="spk", default_source="x.monitor")
    )
    told = found(check_devices(devices(user=device, bot="default"), lambda: [DEFAULT]))
    refused = "the sound server's default source is x.monitor, the monitor of a loudspeaker"
    assert ("failure", f"user: {refused}") in told
    assert ("ok", "bot: the sound server's default source is x.monitor") in told
    assert not any("no device is named" in text for _, text in told)


def test_portaudio_that_is_missing_is_a_failure_and_tracks_without_devices_need_none():
    def broken():
        raise DeviceError("starting PortAudio: not found", "install it")

    assert found(check_devices(devices(), broken)) == [("failure", "starting PortAudio: not found")]
    fed = Config(tracks=TracksConfig(TrackConfig(source="feed"), TrackConfig(source="none")))
    assert found(check_devices(fed, broken)) == []


def microphone(device, channels):
    """Return what is found of a microphone, but that it is there."""
    config = devices(user=device.id, channels=channels)
    findings = check_devices(config, lambda: [device, LOOPBACK])
    return [f for f in findings if f.told.startswith("user: ") and f.severity != "ok"]


@pytest.mark.parametrize(
    ("device", "channels"), [(SIX, (1,)), (SIX, (6, 2)), (ARRAY, (1, 6)), (ARRAY, 1), (ARRAY, 2)]
)
def test_channels_that_a_device_has_are_fine(device, channels):
    assert microphone(device, channels) == []


@pytest.mark.parametrize("device", [SIX, ARRAY])
def test_a_channel_that_a_device_has_not_is_a_failure_with_a_hint(device):
    (finding,) = microphone(device, (2, 7))
    assert finding.severity == "failure"
    assert finding.told == f"user: {device.id} has 6 channels, so there is no channel 7"
    assert "edgerec devices" in finding.fix


def test_channels_that_a_sound_server_would_take_for_others_get_the_command_to_type():
    (finding,) = microphone(ODD, (3, 1))
    assert finding.severity == "failure"
    assert finding.fix.startswith(
        "pactl load-module module-remap-source source_name=edgerec_channels master=six channels=2 "
        "master_channel_map=top-center,aux0 channel_map=front-left,front-right remix=no; then set"
    )


@pytest.mark.parametrize(("device", "channels"), [(SIX, 1), (SIX, 6), (ARRAY, 6)])
def test_an_array_that_is_mixed_is_noted(device, channels):
    (finding,) = microphone(device, channels)
    assert (finding.severity, "are mixed" in finding.told) == ("note", True)


def test_channels_of_a_pcm_of_alsas_configuration_are_noted():
    (finding,) = microphone(replace(ARRAY, id="kiosk_mic", name="kiosk_mic"), (2,))
    assert (finding.severity, "ALSA's configuration" in finding.told) == ("note", True)

"""Devices go by names that survive a reboot, and a wanted one is found or told apart."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.capture.devices import catalog
from edgerec.capture.devices.alsa_cards import AlsaCard, parse_alsa_cards
from edgerec.capture.devices.catalog import (
    DeviceError,
    DeviceInfo,
    find_device,
    portaudio_inputs,
    resolve,
    source_inputs,
)
from edgerec.capture.devices.pcm_name import PcmTarget
from edgerec.capture.devices.server_answers import ServerSource

CARDS = """\
 0 [Headphones     ]: bcm2835_headpho - bcm2835 Headphones
                      bcm2835 Headphones
 1 [Mic            ]: USB-Audio - USB PnP Sound Device
                      C-Media Electronics Inc. USB PnP Sound Device at usb-0000:01:00.0-1.3, full s
 2 [Spk            ]: Loopback - Loopback
                      Loopback 1
"""

HOST_APIS = [{"name": "ALSA"}, {"name": "JACK Audio Connection Kit"}]


def queried(*names, outputs=(), host_api=0):
    """Return what `sounddevice.query_devices` returns, as far as it is used."""
    return [
        {
            "name": name,
            "index": index,
            "hostapi": host_api,
            "max_input_channels": 0 if name in outputs else 2,
            "default_samplerate": 44100.0,
        }
        for index, name in enumerate(names)
    ]


def device(id_, name=None, *, is_default=False, index=0):
    return DeviceInfo(id_, name or id_, "ALSA", index, 48_000, 1, is_default)


def test_a_hardware_device_is_called_by_its_cards_id_and_not_by_its_number():
    names = ("bcm2835 Headphones: - (hw:0,0)", "USB PnP Sound Device: Audio (hw:1,0)")
    found = portaudio_inputs(
        queried(*names, outputs=names[:1]), HOST_APIS, 1, parse_alsa_cards(CARDS)
    )
    assert found == [DeviceInfo("alsa:Mic,0", names[1], "ALSA", 1, 44_100, 2, True)]


def test_a_pcm_of_the_alsa_configuration_keeps_its_name():
    (found,) = portaudio_inputs(queried("kiosk_mic"), HOST_APIS, -1, {})
    assert (found.id, found.loopback, found.is_default) == ("kiosk_mic", None, False)


def test_a_card_that_went_away_while_we_looked_is_listed_by_its_name():
    (found,) = portaudio_inputs(queried("Mic: - (hw:7,0)"), HOST_APIS, -1, {})
    assert found.id == "Mic: - (hw:7,0)"


@pytest.mark.parametrize(
    ("name", "loopback"),
    [
        ("Loopback: PCM (hw:2,1)", "snd-aloop: hears what is played into its other half"),
        ("kiosk_loopback", "its name says so"),
        ("Monitor of HDMI", "its name says so"),
        ("USB PnP Sound Device: Audio (hw:1,0)", None),
    ],
)
def test_a_likely_loopback_is_marked_with_the_reason(name, loopback):
    (found,) = portaudio_inputs(queried(name), HOST_APIS, -1, parse_alsa_cards(CARDS))
    assert found.loopback == loopback


def test_the_sound_servers_sources_are_opened_through_alsas_pulse_device():
    portaudio = portaudio_inputs(queried("kiosk_mic", "pulse"), HOST_APIS, 1, {})
    sources = [
        ServerSource("spk.monitor", "Monitor of Speaker", 48_000, 2, True, True),
        ServerSource("mic", "Microphone", 16_000, 1, False, False),
    ]
    monitor, microphone = source_inputs(sources, portaudio)
    assert monitor.id == "pulse:spk.monitor"
    assert (monitor.index, monitor.pulse_source) == (1, "spk.monitor")
    assert monitor.loopback == "monitor: hears what its loudspeaker plays"
    assert (microphone.sample_rate, microphone.channels) == (16_000, 1)
    assert microphone.loopback is None
    assert (monitor.is_pipewire, microphone.is_pipewire) == (True, False)
    assert not microphone.is_default  # `pulse` itself is: a default must be one device


def test_without_alsas_pulse_device_no_source_can_be_opened():
    portaudio = portaudio_inputs(queried("kiosk_mic"), HOST_APIS, 0, {})
    assert (
        source_inputs([ServerSource("mic", "Microphone", 16_000, 1, False, False)], portaudio) == []
    )


def test_no_name_means_the_default_device():
    devices = [device("a"), device("b", is_default=True)]
    assert resolve(None, devices).id == "b"


def test_an_id_wins_over_a_name_and_a_name_over_a_part_of_one():
    devices = [device("x", "mic"), device("mic", "y"), device("mic2", "z mic")]
    assert resolve("mic", devices).id == "mic"
    assert resolve("mic", devices[::2]).id == "x"
    assert resolve("MIC", devices[2:]).id == "mic2"


def test_a_name_that_fits_several_devices_is_refused_with_their_ids():
    devices = [device("alsa:Mic,0", "USB Mic"), device("alsa:Mic_1,0", "USB Mic"), device("z")]
    with pytest.raises(DeviceError, match="fits 2") as refused:
        resolve("usb", devices)
    assert "alsa:Mic,0, alsa:Mic_1,0" in refused.value.hint
    with pytest.raises(DeviceError, match="fits 2"):
        resolve("USB Mic", devices)


def test_a_missing_device_is_refused_with_what_there_is():
    with pytest.raises(DeviceError, match="no input device named 'c'") as refused:
        resolve("c", [device("a"), device("b")])
    assert refused.value.hint == "there is: a, b"


@pytest.mark.parametrize("gone", ["alsa:Mic", "pulse:mic"])
def test_an_id_that_is_gone_does_not_find_its_namesake(gone):
    with pytest.raises(DeviceError, match="no input device"):
        resolve(gone, [device("alsa:Mic_1,0"), device("pulse:mic_feed.monitor")])


def test_a_card_that_another_process_records_from_is_busy_and_not_missing(monkeypatch):
    monkeypatch.setattr(catalog, "_portaudio_inputs", list)
    monkeypatch.setattr(catalog, "_server_inputs", lambda inputs: [])
    monkeypatch.setattr(catalog, "alsa_owner", lambda wanted: 812)
    with pytest.raises(DeviceError, match="'alsa:Mic,1' is busy") as refused:
        find_device("alsa:Mic,1")
    assert "process 812" in refused.value.hint


def test_a_missing_source_is_refused_with_what_is_in_its_way(monkeypatch):
    monkeypatch.setattr(catalog, "why_no_answer", lambda: "the server is off")
    hints = []
    for plugin in (None, PcmTarget("pulse")):
        monkeypatch.setattr(catalog, "resolve_pcm", lambda name, plugin=plugin: plugin)
        with pytest.raises(DeviceError) as refused:
            resolve("pulse:mic", [device("a")])
        hints.append(refused.value.hint)
    assert hints == [
        "there is: a; ALSA has no device `pulse`: apt install libasound2-plugins",
        "there is: a; the server is off",
    ]


def test_a_source_that_an_answering_server_has_not_is_just_missing():
    for answered in (replace(device("pulse:other"), is_served=True), device("pulse")):
        with pytest.raises(DeviceError) as refused:
            resolve("pulse:mic", [answered])
        assert refused.value.hint == f"there is: {answered.id}"


def test_a_machine_without_any_input_is_told_so():
    with pytest.raises(DeviceError, match="no default input device") as refused:
        resolve(None, [])
    assert refused.value.hint == "there is no input device at all"


@given(st.lists(st.text("abC,:", min_size=1, max_size=4), unique=True, min_size=1))
def test_every_device_is_found_by_its_own_id_whatever_the_others_are_called(ids):
    devices = [device(id_, index=index) for index, id_ in enumerate(ids)]
    assert [resolve(id_, devices) for id_ in ids] == devices


PORTS = ("usb-0000:01:00.0-1.3", "usb-0000:01:00.0-1.4")


def twins(*ports, name="USB Audio Device: - (hw:{},0)"):
    """Return the inputs of a machine whose identical cards were detected in this order."""
    cards = {
        number: AlsaCard(f"Device_{number}" if number else "Device", "USB-Audio", "", True, port)
        for number, port in enumerate(ports)
    }
    names = [name.format(number) for number in cards]
    return portaudio_inputs(queried(*names), HOST_APIS, -1, cards)


def test_twins_are_listed_by_their_ports_and_others_by_their_cards_ids():
    assert [one.stable_id for one in twins(*PORTS)] == [f"alsa:{port},0" for port in PORTS]
    assert [one.id for one in twins(*PORTS)] == ["alsa:Device,0", "alsa:Device_1,0"]
    single = {0: AlsaCard("Mic", "USB-Audio", "", False, PORTS[0])}
    (microphone,) = portaudio_inputs(queried("Mic: - (hw:0,0)"), HOST_APIS, -1, single)
    assert (microphone.stable_id, microphone.port_id) == ("alsa:Mic,0", f"alsa:{PORTS[0]},0")


def test_twins_whose_ports_are_not_known_keep_their_ids_and_are_marked():
    assert [(one.stable_id, one.by_order) for one in twins(None, None)] == [
        ("alsa:Device,0", True),
        ("alsa:Device_1,0", True),
    ]


def test_a_twin_is_found_by_its_port_whichever_was_detected_first():
    wanted = f"alsa:{PORTS[1]},0"
    assert [resolve(wanted, twins(*order)).id for order in (PORTS, PORTS[::-1])] == [
        "alsa:Device_1,0",
        "alsa:Device,0",
    ]
    (alone,) = twins(PORTS[1])
    assert resolve(wanted, [alone]) == alone
    assert alone.named(wanted) == wanted
    assert (alone.named("alsa:Device,0"), alone.named(None)) == ("alsa:Device,0", "alsa:Device,0")


def test_a_twin_that_is_gone_does_not_find_the_other():
    for wanted in (f"alsa:{PORTS[0]},0", f"alsa:{PORTS[1]},1", "alsa:usb-0000:01:00.0-1,0"):
        with pytest.raises(DeviceError, match="no input device"):
            resolve(wanted, twins(PORTS[1]))


def test_a_name_that_fits_twins_is_refused_with_ids_that_will_be_theirs_tomorrow():
    with pytest.raises(DeviceError, match="fits 2") as refused:
        resolve("USB Audio", twins(*PORTS))
    assert refused.value.hint.endswith(f"alsa:{PORTS[0]},0, alsa:{PORTS[1]},0")


PLAIN = "alsa_input.usb-C-Media_USB_Audio_Device-00.mono-fallback"


def served(names_by_port):
    """Return the inputs of a sound server that calls what is on some ports this."""
    door = portaudio_inputs(queried("pulse"), HOST_APIS, -1, {})
    sources = [
        ServerSource(name, "USB", 48_000, 1, False, False, (), port and f"{PLAIN}@{port}")
        for port, name in names_by_port.items()
    ]
    return source_inputs(sources, door)


@pytest.mark.parametrize("second", [f"{PLAIN}.2", PLAIN.replace("-00", "-00.2")])
def test_a_servers_twins_are_listed_and_found_by_their_ports(second):
    wanted = f"pulse:{PLAIN}@{PORTS[1]}"
    first = served({PORTS[0]: PLAIN, PORTS[1]: second})
    swapped = served({PORTS[0]: second, PORTS[1]: PLAIN})
    assert [one.stable_id for one in first] == [f"pulse:{PLAIN}@{port}" for port in PORTS]
    assert resolve(wanted, first).pulse_source == second
    assert resolve(wanted, swapped).pulse_source == PLAIN
    assert resolve(f"pulse:{second}", swapped) == swapped[0]
    (alone,) = served({PORTS[1]: PLAIN})
    assert (alone.by_order, resolve(wanted, [alone])) == (False, alone)
    with pytest.raises(DeviceError, match="no input device"):
        resolve(wanted, served({PORTS[0]: PLAIN}))


def test_a_source_is_a_twin_by_its_number_too_while_the_other_is_away():
    (alone,) = served({PORTS[1]: f"{PLAIN}.2"})
    assert alone.stable_id == f"pulse:{PLAIN}@{PORTS[1]}"


def test_a_servers_twins_whose_ports_are_not_known_are_marked():
    door = portaudio_inputs(queried("pulse"), HOST_APIS, -1, {})
    sources = [ServerSource(f"{PLAIN}{n}", "USB", 48_000, 1, False, False) for n in ("", ".2")]
    assert [one.by_order for one in source_inputs(sources, door)] == [True, True]

"""`edgerec devices`: what an operator copies into the configuration."""

import json
from dataclasses import replace

import pytest

from edgerec import cli
from edgerec.capture.devices.catalog import DeviceError, DeviceInfo
from edgerec.cli import devices

FOUND = [
    DeviceInfo("alsa:Mic,0", "USB Mic: Audio (hw:1,0)", "ALSA", 0, 44_100, 1, True),
    DeviceInfo("kiosk_loopback", "kiosk_loopback", "ALSA", 1, 48_000, 2, False, "its name says so"),
]


@pytest.fixture
def found(monkeypatch):
    """Say what there is."""

    def say(devices_or_error):
        def list_devices():
            if isinstance(devices_or_error, Exception):
                raise devices_or_error
            return devices_or_error

        monkeypatch.setattr(devices, "list_devices", list_devices)
        monkeypatch.setattr(devices, "why_not_served", lambda found: "")

    return say


def test_each_device_has_a_line_that_begins_with_its_id(found, capsys):
    found(FOUND)
    assert cli.main(["devices"]) == 0
    assert capsys.readouterr().out == (
        "alsa:Mic,0       44100 Hz   1 ch  USB Mic: Audio (hw:1,0) [default]\n"
        "kiosk_loopback   48000 Hz   2 ch  [loopback? its name says so]\n"
    )


def test_twins_are_listed_by_their_ports_with_todays_ids_beside_them(found, capsys):
    port = "alsa:usb-0000:01:00.0-1.3,0"
    twin = DeviceInfo("alsa:Device_1,0", "USB", "ALSA", 0, 44_100, 1, False, by_order=True)
    found([replace(twin, port_id=port), twin, replace(FOUND[0], port_id=port)])
    assert cli.main(["devices"]) == 0
    first, portless, single = capsys.readouterr().out.splitlines()
    assert first == f"{port}   44100 Hz   1 ch  USB [today also alsa:Device_1,0]"
    assert portless.startswith("alsa:Device_1,0 ")
    assert portless.endswith("[its id goes by the order of detection]")
    assert single.startswith("alsa:Mic,0 ")
    assert cli.main(["devices", "--json"]) == 0
    ids = [device["id"] for device in json.loads(capsys.readouterr().out)]
    assert ids == [port, "alsa:Device_1,0", "alsa:Mic,0"]


def test_it_is_said_why_none_is_a_sound_servers(found, capsys, monkeypatch):
    found(FOUND)
    monkeypatch.setattr(devices, "why_not_served", lambda found: "it is off; turn it on")
    assert cli.main(["devices"]) == 0
    told = capsys.readouterr()
    assert told.err == "edgerec devices: none of a sound server: it is off; turn it on\n"
    assert cli.main(["devices", "--json"]) == 0
    assert capsys.readouterr().err == ""


def test_programs_get_every_field_that_is_true_in_their_process_too(found, capsys):
    found(FOUND)
    assert cli.main(["devices", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["id"], first["sample_rate"], first["is_default"]) == ("alsa:Mic,0", 44_100, True)
    assert second["loopback"] == "its name says so"
    assert "index" not in first


def test_no_device_is_said_in_words_and_is_an_empty_list_to_programs(found, capsys):
    found([])
    assert cli.main(["devices"]) == 0
    assert cli.main(["devices", "--json"]) == 0
    assert capsys.readouterr().out == "no input device\n[]\n"


def test_devices_that_cannot_be_listed_are_a_failure_with_a_hint(found, capsys):
    found(DeviceError("starting PortAudio: gone", "install it"))
    assert cli.main(["devices"]) == 1
    assert capsys.readouterr().err == "edgerec devices: starting PortAudio: gone; install it\n"


def configuration(tmp_path, text):
    file = tmp_path / "edgerec.yaml"
    file.write_text(f"{text}\n")
    return ["--config", str(file)]


def test_what_a_configurations_tracks_mean_is_marked(found, capsys, tmp_path):
    found(FOUND)
    named = configuration(tmp_path, "tracks: {bot: {device: loopback}}")
    assert cli.main(["devices", *named]) == 0
    mic, loopback = capsys.readouterr().out.splitlines()
    assert mic.endswith("[default] [tracks.user]")
    assert loopback.endswith("[tracks.bot]")
    assert cli.main(["devices", "--json", *named]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [device["tracks"] for device in told] == [["user"], ["bot"]]


def test_a_device_that_a_configuration_means_and_that_is_not_there_is_a_failure(
    found, capsys, tmp_path
):
    found(FOUND)
    text = "tracks: {user: {device: gone}, bot: {source: feed}}"
    assert cli.main(["devices", *configuration(tmp_path, text)]) == 1
    printed = capsys.readouterr()
    assert "tracks" not in printed.out
    assert printed.err.startswith("edgerec devices: tracks.user.device: ")
    assert "alsa:Mic,0" in printed.err


def test_a_broken_configuration_that_is_not_named_keeps_nobody_from_seeing_the_devices(
    found, capsys, tmp_path, monkeypatch
):
    found(FOUND)
    _, file = configuration(tmp_path, "nonsense: 1")
    monkeypatch.setenv("EDGEREC_CONFIG", file)
    assert cli.main(["devices"]) == 0
    assert cli.main(["devices", "--config", file]) == 78

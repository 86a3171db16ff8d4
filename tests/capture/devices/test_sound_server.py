"""What PulseAudio's and PipeWire's tools print is read as it was captured from them."""

import json
from pathlib import Path

import pytest

from edgerec.capture.devices import sound_server
from edgerec.capture.devices.server_answers import (
    RecordingStream,
    ServerSource,
    ServerState,
    parse_clients,
    parse_default_source,
    parse_pactl_sources,
    parse_pw_dump,
    parse_state,
)
from edgerec.capture.devices.sound_server import (
    SoundServer,
    SoundServerError,
    pin_stream,
    read_default_source,
    read_server,
    read_sources,
)

# pactl 16.1, shortened to what differs between the two
PACTL = json.dumps(
    [
        {
            "index": 0,
            "state": "IDLE",
            "name": "kiosk_speaker.monitor",
            "description": "Monitor of Null Output",
            "driver": "module-null-sink.c",
            "sample_specification": "s16le 2ch 48000Hz",
            "channel_map": "front-left,front-right",
            "monitor_source": "kiosk_speaker",
            "properties": {"device.class": "monitor"},
        },
        {
            "index": 2,
            "state": "IDLE",
            "name": "kiosk_mic",
            "description": "Remapped Monitor of Null Output",
            "driver": "module-remap-source.c",
            "sample_specification": "float32le 1ch 44100Hz",
            "channel_map": "mono",
            "monitor_source": "",
            "properties": {"device.class": "filter"},
        },
    ]
)
STEREO, MONO = ("front-left", "front-right"), ("mono",)
SOURCES = [
    ServerSource("kiosk_speaker.monitor", "Monitor of Null Output", 48_000, 2, True, False, STEREO),
    ServerSource("kiosk_mic", "Remapped Monitor of Null Output", 44_100, 1, False, False, MONO),
]

# pw-dump 0.3.65, shortened to one object of each kind that matters
PW_DUMP = json.dumps(
    [
        {"id": 0, "type": "PipeWire:Interface:Core", "info": {"props": {"core.name": "p0"}}},
        {"id": 28, "type": "PipeWire:Interface:Metadata", "props": {"metadata.name": "default"}},
        {"id": 29, "type": "PipeWire:Interface:Client", "info": None},
        {
            "id": 41,
            "type": "PipeWire:Interface:Node",
            "info": {
                "props": {
                    "node.name": "alsa_output.hdmi",
                    "node.description": "HDMI",
                    "media.class": "Audio/Sink",
                    "audio.channels": 6,
                }
            },
        },
        {
            "id": 42,
            "type": "PipeWire:Interface:Node",
            "info": {"props": {"node.name": "alsa_input.usb", "media.class": "Audio/Source"}},
        },
        {
            "id": 43,
            "type": "PipeWire:Interface:Node",
            "info": {"props": {"node.name": "mic", "media.class": "Audio/Source/Virtual"}},
        },
        {
            "id": 44,
            "type": "PipeWire:Interface:Node",
            "info": {"props": {"node.name": "recorder", "media.class": "Stream/Input/Audio"}},
        },
    ]
)


def test_pactls_sources_have_their_names_rates_channels_and_monitors():
    assert parse_pactl_sources(PACTL) == SOURCES


def test_pactl_tells_pipewires_sources_from_pulseaudios():
    told = json.loads(PACTL)
    told[1]["driver"] = "PipeWire"
    assert [source.is_pipewire for source in parse_pactl_sources(json.dumps(told))] == [False, True]


CARD = "/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/sound/card1"
PORT = "usb-0000:00:14.0-2"


def test_pactls_sources_of_usb_devices_are_known_by_their_ports_too():
    told = json.loads(PACTL)
    told[0]["name"] = "alsa_output.usb-Speaker-00.analog-stereo.2.monitor"
    told[0]["properties"]["sysfs.path"] = CARD
    speaker, microphone = parse_pactl_sources(json.dumps(told))
    assert speaker.name_by_port == f"alsa_output.usb-Speaker-00.analog-stereo.monitor@{PORT}"
    assert microphone.name_by_port is None


def test_pipewires_sources_are_known_by_the_ports_of_their_cards():
    told = json.loads(PW_DUMP)
    for item in told:
        if item["id"] == 41:
            item["info"]["props"] |= {"node.name": "alsa_output.usb-X-00.2.stereo", "device.id": 77}
    card = {"device.sysfs.path": f"/sys{CARD}", "media.class": "Audio/Device"}
    told.append({"id": 77, "type": "PipeWire:Interface:Device", "info": {"props": card}})
    first, second, _ = parse_pw_dump(json.dumps(told))
    assert first.name_by_port == f"alsa_output.usb-X-00.stereo.monitor@{PORT}"
    assert second.name_by_port is None


def test_pipewires_sinks_are_the_monitors_that_pulseaudio_clients_see():
    assert parse_pw_dump(PW_DUMP) == [
        ServerSource("alsa_output.hdmi.monitor", "Monitor of HDMI", 48_000, 6, True, True),
        ServerSource("alsa_input.usb", "alsa_input.usb", 48_000, 2, False, True),
        ServerSource("mic", "mic", 48_000, 2, False, True),
    ]


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Stand-ins for the tools: shell scripts, alone on the PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def install(name, script):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)

    return install


def printing(folder: Path, text):
    (folder / "printed").write_text(text)
    return f"/bin/cat {folder}/printed"


def test_without_tools_there_are_no_sources(tools):
    assert read_sources() == []


def test_pactl_is_asked_first_and_pw_dump_where_there_is_none(tools, tmp_path):
    tools("pw-dump", printing(tmp_path, PW_DUMP))
    assert len(read_sources()) == 3
    tools("pactl", "echo '[]'")
    assert read_sources() == []


def test_descriptions_that_pactl_can_t_put_into_json_are_asked_for_as_text(tools, tmp_path):
    listed = json.loads(PACTL)
    for source in listed:
        source["description"] = "(null)"
    (tmp_path / "json").write_text(json.dumps(listed))
    (tmp_path / "text").write_text(
        "Source #0\n\tState: IDLE\n\tName: kiosk_speaker.monitor\n"
        "\tDescription: Lautsprecher für マイク\n\tDriver: x\n"
    )
    tools("pactl", f"[ $1 = list ] && exec /bin/cat {tmp_path}/text; exec /bin/cat {tmp_path}/json")
    assert [source.description for source in read_sources()] == [
        "Lautsprecher für マイク",
        "kiosk_mic",  # of which the text says nothing
    ]


def test_a_server_that_refuses_has_no_sources(tools):
    tools("pactl", "echo '[{}]'; exit 1")
    assert read_sources() == []


def test_a_frozen_server_is_given_up_after_a_while(tools, monkeypatch):
    monkeypatch.setattr(sound_server, "SERVER_TIMEOUT_S", 0.05)
    tools("pactl", "exec /bin/sleep 1000")
    assert read_sources() == []


def test_numbers_are_asked_for_with_decimal_points_whatever_the_locale(tools, monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    tools("pactl", '[ "$LC_ALL" = C.UTF-8 ] && echo "[]" || echo "[0,00"')
    assert read_sources() == []


@pytest.mark.parametrize(
    "printed", ["", "[", '[{"name": "x"}]', '[{"sample_specification": "odd", "properties": {}}]']
)
def test_what_cannot_be_read_is_an_error_that_names_the_command(tools, tmp_path, printed):
    tools("pactl", printing(tmp_path, printed))
    with pytest.raises(SoundServerError, match="pactl --format=json list sources"):
        read_sources()


# pactl 16.1: a stream of a module has no process
OUTPUTS = json.dumps(
    [
        {"index": 0, "source": 1, "properties": {"media.name": "Remapped Stream"}},
        {"index": 2, "source": 0, "properties": {"application.process.id": "4711"}},
        {"index": 3, "source": 9, "properties": {"application.process.id": "4712"}},
    ]
)
SHORT = json.dumps(
    [{"index": 0, "name": "kiosk_speaker.monitor"}, {"index": 1, "name": "kiosk_mic_feed.monitor"}]
)


def test_who_records_from_which_source_is_read_by_process():
    assert parse_state(OUTPUTS, SHORT) == ServerState(
        streams={
            4711: RecordingStream(2, "kiosk_speaker.monitor", 0),
            4712: RecordingStream(3, None, 9),
        },
        sources=frozenset({"kiosk_speaker.monitor", "kiosk_mic_feed.monitor"}),
    )


# pactl 16.1 and pw-dump 0.3.65: a stream of pipewire-alsa says its client, and not its process
NAMELESS = json.dumps(
    [
        {"index": 6, "client": None, "source": 1, "properties": {"client.id": "63"}},
        {"index": 7, "client": 43, "source": 1, "properties": {"client.id": "60"}},
        {"index": 8, "source": 0, "properties": {"client.id": "61", "application.process.id": "5"}},
        {"index": 9, "client": 44, "source": 0, "properties": {"client.id": "62"}},
    ]
)
CLIENTS = json.dumps(
    [
        {
            "id": 60,
            "type": "PipeWire:Interface:Client",
            "info": {"props": {"pipewire.sec.pid": 4711, "application.process.id": 12}},
        },
        {
            "id": 61,
            "type": "PipeWire:Interface:Client",
            "info": {"props": {"pipewire.sec.pid": 4712}},
        },
        {"id": 62, "type": "PipeWire:Interface:Client", "info": None},
        {
            "id": 63,
            "type": "PipeWire:Interface:Node",
            "info": {"props": {"pipewire.sec.pid": 4713}},
        },
    ]
)


def test_a_stream_that_does_not_say_its_process_has_the_one_that_the_kernel_named():
    assert parse_clients(CLIENTS) == {"60": 4711, "61": 4712}
    state = parse_state(NAMELESS, SHORT, parse_clients(CLIENTS))
    assert state.streams == {
        4711: RecordingStream(7, "kiosk_mic_feed.monitor", 1),
        5: RecordingStream(8, "kiosk_speaker.monitor", 0),
    }


def test_pipewire_is_asked_for_processes_only_where_one_is_not_found(tools, tmp_path):
    script = "case \"$*\" in *short*) echo '{short}';; *) echo '{outputs}';; esac"
    tools("pactl", script.format(short=SHORT, outputs=NAMELESS))
    (tmp_path / "printed").write_text(CLIENTS)
    tools("pw-dump", f"echo asked >>{tmp_path}/asked; /bin/cat {tmp_path}/printed")
    assert set(sound_server.read_state([5]).streams) == {5}
    assert not (tmp_path / "asked").exists()
    assert set(sound_server.read_state([5, 4711]).streams) == {5, 4711}
    tools("pactl", script.format(short=SHORT, outputs=OUTPUTS))
    assert set(sound_server.read_state([1]).streams) == {4711, 4712}
    module = [{"index": 6, "client": None, "source": 1, "properties": {"client.id": "63"}}]
    tools("pactl", script.format(short=SHORT, outputs=json.dumps(module)))
    assert sound_server.read_state([1]).streams == {}
    assert (tmp_path / "asked").read_text() == "asked\n"
    tools("pactl", script.format(short=SHORT, outputs=NAMELESS))
    tools("pw-dump", "exit 1")
    assert set(sound_server.read_state([4711]).streams) == {5}


def metadata(name):
    entry = {"subject": 0, "key": "default.audio.source", "value": {"name": name}}
    sink = {**entry, "key": "default.audio.sink", "value": {"name": "alsa_output.hdmi"}}
    item = {"id": 28, "type": "PipeWire:Interface:Metadata", "metadata": [sink, entry]}
    return json.dumps([*json.loads(PW_DUMP), item])


def test_pipewire_s_default_source_may_be_a_sink_s_monitor():
    assert parse_default_source(metadata("alsa_input.usb")) == "alsa_input.usb"
    assert parse_default_source(metadata("alsa_output.hdmi")) == "alsa_output.hdmi.monitor"
    assert parse_default_source(PW_DUMP) is None


def test_the_default_source_is_pactl_s_word_or_else_pw_dump_s(tools, tmp_path):
    assert read_default_source() is None
    tools("pw-dump", printing(tmp_path, metadata("alsa_input.usb")))
    assert read_default_source() == "alsa_input.usb"
    tools("pactl", "echo 'Default Source: mic'")
    assert read_default_source() == "mic"
    tools("pactl", "echo 'Default Source: @DEFAULT_SOURCE@'")
    assert read_default_source() is None


@pytest.mark.parametrize("printed", ["[", "[0]", '["x"]', '[{"metadata": [{}]}]'])
def test_a_default_source_that_can_t_be_read_is_an_error(tools, tmp_path, printed):
    tools("pw-dump", printing(tmp_path, printed))
    with pytest.raises(SoundServerError, match="pw-dump"):
        read_default_source()


@pytest.fixture
def pactl(monkeypatch):
    """A pactl that notes its calls, and answers what a test says; None: it fails."""
    calls, answers = [], {"info": "Server Name: pulseaudio"}

    def output(command):
        calls.append(command[1:])
        return answers.get(command[1], "")

    monkeypatch.setattr(sound_server, "output_of", output)
    return calls, answers


def test_a_stream_is_pinned_by_moving_it_away_and_back(pactl):
    calls, _ = pactl
    assert pin_stream(RecordingStream(2, "mic", 5), {"mic", "speaker.monitor"})
    assert calls == [
        ["info"],
        ["move-source-output", "2", "speaker.monitor"],
        ["move-source-output", "2", "mic"],
    ]


def test_no_stream_is_moved_by_pipewire_or_with_nowhere_to_go(pactl):
    calls, answers = pactl
    assert not pin_stream(RecordingStream(2, "mic", 5), {"mic"})
    answers["info"] = "Server Name: PulseAudio (on PipeWire 0.3.65)"
    assert not pin_stream(RecordingStream(2, "mic", 5), {"mic", "speaker.monitor"})
    assert all(call == ["info"] for call in calls)


@pytest.mark.parametrize(
    ("printed", "sink"), [("kiosk_speaker", "kiosk_speaker"), ("@DEFAULT_SINK@", None), ("", None)]
)
def test_a_server_says_what_it_is_and_where_it_plays_if_it_can(pactl, printed, sink):
    _, answers = pactl
    answers["info"] = f"Server Name: PulseAudio (on PipeWire 0.3.65)\nDefault Sink: {printed}\n"
    assert read_server() == SoundServer(is_pipewire=True, default_sink=sink)


def test_a_tool_that_can_t_be_started_now_is_no_answer(monkeypatch):
    def run(command, **options):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(sound_server.subprocess, "run", run)
    assert sound_server.read_state() is None
    assert sound_server.read_sources() == []


def test_an_answer_of_another_form_is_told(monkeypatch):
    monkeypatch.setattr(sound_server, "output_of", lambda command: '["a source"]')
    with pytest.raises(sound_server.SoundServerError, match="pactl"):
        sound_server.read_sources()

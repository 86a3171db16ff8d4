"""What makes which machine's loudspeaker recordable."""

import json
import os

import pytest

from edgerec import cli
from edgerec.cli import loopback as command
from edgerec.config import load_config
from edgerec.doctor.loopback import Machine, alsa_machine, recipe, yaml_lines

PULSE = Machine("pulseaudio", sink="kiosk_speaker")
ALSA = Machine("alsa", speaker="Device,0", microphone="Mic,0")
CARDS = """\
 0 [vc4hdmi0       ]: vc4-hdmi - vc4-hdmi-0
                      vc4-hdmi-0
 1 [Mic            ]: USB-Audio - USB Mic
                      USB Mic at usb-0000:01:00.0-1.1, full speed
 2 [Loopback       ]: Loopback - Loopback
                      Loopback 1
"""
PCM = """\
00-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
01-00: USB Audio : USB Audio : capture 1
02-00: Loopback PCM : Loopback PCM : playback 1 : capture 1
"""


def test_alsa_cards_are_told_apart_by_what_they_can():
    assert alsa_machine(CARDS, PCM) == Machine(
        "alsa", speaker="vc4hdmi0,0", microphone="Mic,0", aloop="Loopback"
    )
    assert alsa_machine("--- no soundcards ---\n", "") == Machine("none")


@pytest.mark.parametrize("kind", ["pulseaudio", "pipewire"])
def test_a_sound_server_has_a_monitor_of_its_sink(kind):
    found = recipe(Machine(kind, sink="kiosk_speaker"))
    assert found.bot == "pulse:kiosk_speaker.monitor"
    assert found.files[0].content == "\n".join(yaml_lines(found)) + "\n"
    assert recipe(Machine(kind)).bot is None


def test_alsa_plays_on_both_and_shares_the_microphone():
    found = recipe(ALSA)
    asound, modules, options = found.files
    assert 'slaves.speaker.pcm "hw:Device,0"' in asound.content
    assert 'slave.pcm "hw:Mic,0"' in asound.content
    assert asound.content.count("{") == asound.content.count("}")
    assert modules.content == "snd-aloop\n"
    assert "timer_source=hw:Device,0,0" in options.content
    assert (found.user, found.bot) == ("edgerec_mic", "alsa:Loopback,1")


def test_a_loopback_card_that_is_there_is_used_under_its_own_name():
    found = recipe(Machine("alsa", speaker="Device,0", aloop="Aloop"))
    assert len(found.files) == 1
    assert 'slaves.loopback.pcm "hw:Aloop,0,0"' in found.files[0].content
    assert "edgerec_mic" not in found.files[0].content
    assert (found.user, found.bot) == (None, "alsa:Aloop,1")


def test_a_machine_that_plays_nothing_is_told_what_to_do():
    found = recipe(Machine("none"))
    assert found.bot is None
    assert found.steps


@pytest.fixture
def loopback(monkeypatch, capsys):
    """Run the command on a machine; return its exit status, and what it said."""

    def run(machine, *arguments):
        monkeypatch.setattr(command, "look", lambda: machine)
        status = cli.main(["loopback", *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


def test_it_shows_what_it_found_and_the_files(loopback):
    status, said, _ = loopback(ALSA)
    assert status == 0
    assert said.startswith("found: ALSA without a sound server; Device,0 plays")
    assert "/etc/asound.conf:\n    # Made by" in said
    assert "      bot: {device: 'alsa:Loopback,1', channels: 2}" in said
    status, said, _ = loopback(Machine("none"))
    assert status == 1
    assert "tracks.bot.source: feed" in said


def test_json_has_all_of_it(loopback):
    told = json.loads(loopback(ALSA, "--json")[1])
    assert told["bot"] == "alsa:Loopback,1"
    assert told["files"][0]["path"] == "/etc/asound.conf"
    assert (told["written"], told["test"]) == (None, None)


@pytest.mark.parametrize(
    ("bot", "said"),
    [("{device: 'alsa:Loopback,1'}", "is set"), ("{source: feed}", "is not set"), ("{}", "is not")],
)
def test_a_configuration_is_looked_at_whether_it_has_it(loopback, tmp_path, bot, said):
    file = tmp_path / "edgerec.yaml"
    file.write_text(f"tracks: {{bot: {bot}}}\n")
    steps = json.loads(loopback(ALSA, "--json", "--config", file)[1])["steps"]
    assert steps[-1].startswith(f"it {said} ")


def test_a_file_is_written_whole_with_a_backup_and_only_once(loopback, tmp_path):
    file = tmp_path / "asound.conf"
    file.write_text("# mine\n")
    file.chmod(0o640)
    assert loopback(ALSA, "--write", file)[0] == 0
    assert file.read_text() == recipe(ALSA).files[0].content
    assert file.stat().st_mode & 0o777 == 0o640
    (backup,) = tmp_path.glob("asound.conf.bak-*")
    assert backup.read_text() == "# mine\n"
    assert loopback(ALSA, "--write", file)[0] == 0
    assert sorted(tmp_path.iterdir()) == sorted([file, backup])


def test_edgerecs_own_file_gets_the_track_and_stays_valid(loopback, tmp_path):
    file = tmp_path / "edgerec.yaml"
    assert loopback(PULSE, "--write", file)[0] == 0
    assert load_config(file, records=False).tracks.bot.device == "pulse:kiosk_speaker.monitor"
    file.write_text("# mine\nkiosk_id: k1")
    assert loopback(PULSE, "--write", file)[0] == 0
    assert file.read_text().startswith("# mine\nkiosk_id: k1\n")
    assert load_config(file, records=False).tracks.bot.device == "pulse:kiosk_speaker.monitor"
    assert load_config(file, records=False).kiosk_id == "k1"
    assert loopback(PULSE, "--write", file)[0] == 0


@pytest.mark.parametrize("before", ["tracks: {user: {device: mic}}\n", "- a\n", "a: [\n"])
def test_a_file_that_can_not_be_extended_is_left_alone(loopback, tmp_path, before):
    file = tmp_path / "edgerec.yaml"
    file.write_text(before)
    status, _, complaint = loopback(PULSE, "--write", file)
    assert status == 1
    assert str(file) in complaint
    assert file.read_text() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_of_any_bytes_is_kept_and_a_pipe_is_not_waited_for(loopback, tmp_path):
    file = tmp_path / "asound.conf"
    file.write_bytes(b"# caf\xe9\r\n")
    assert loopback(ALSA, "--write", file)[0] == 0
    (backup,) = tmp_path.glob("asound.conf.bak-*")
    assert backup.read_bytes() == b"# caf\xe9\r\n"
    os.mkfifo(tmp_path / "pipe")
    status, _, complaint = loopback(ALSA, "--write", tmp_path / "pipe")
    assert (status, "pipe is not a regular file" in complaint) == (1, True)


def test_a_file_that_can_not_be_written_is_named(loopback):
    status, _, complaint = loopback(ALSA, "--write", "/no/such/asound.conf")
    assert status == 1
    assert "writing /no/such/asound.conf.new: No such file or directory" in complaint


def test_a_machine_without_a_loopback_has_nothing_to_write_or_test(loopback, tmp_path):
    assert loopback(Machine("none"), "--write", tmp_path / "file")[0] == 1
    assert loopback(Machine("none"), "--test")[0] == 1
    assert list(tmp_path.iterdir()) == []

"""What the sweeps prove, and how they are played; nothing is played here."""

import shutil
import sys
import wave

import numpy as np
import pytest

from edgerec.capture.devices.catalog import DeviceError, DeviceInfo
from edgerec.config import Config, StorageConfig, TrackConfig, TracksConfig
from edgerec.doctor import sound_check
from edgerec.doctor.alignment import CLEAR, RATE_HZ, HeardSweep, find_sweeps, write_sweeps
from edgerec.doctor.sound_check import (
    SoundCheck,
    SoundCheckError,
    judge_sound,
    play_and_record,
    player_command,
)
from tests.rigs.waiting import PATIENCE_S


def kiosk(user="alsa:Mic,0", bot="pulse:spk.monitor", **bot_settings):
    return Config(
        tracks=TracksConfig(
            user=TrackConfig(device=user, offset_ms=2.5),
            bot=TrackConfig(device=bot, channels=2, **bot_settings),
        )
    )


PLAYED_DBFS = -15.1  # 0.25 of full scale, and a fade


def heard(first_s=3.0, clarity=1.0, rms_dbfs=-20.0, count=3):
    return [HeardSweep(first_s + 2.5 * n, clarity, rms_dbfs) for n in range(count)]


def judged(config=None, **tracks):
    check = SoundCheck({"user": heard(3.08, 0.5), "bot": heard(), **tracks})
    findings = list(judge_sound(config or kiosk(), check))
    assert all(finding.fix for finding in findings if finding.severity != "ok")
    return findings


def test_a_chain_that_works_offers_the_offset_on_top_of_the_one_there_is():
    loopback, level, late = judged()
    assert (loopback.severity, level.severity, late.severity) == ("ok", "ok", "note")
    assert late.told.startswith("the microphone has the loudspeaker 80.0 ms after the loopback")
    assert (
        "set tracks.user.offset_ms to 82.5 (it is 2.5), and its offset_source to chirp" in late.fix
    )


def test_a_loopback_that_is_later_than_the_microphone_gets_the_offset():
    late = judged(user=heard(2.9, 0.5))[-1]
    assert "set tracks.bot.offset_ms to 100 (it is 0)" in late.fix


def test_a_short_way_through_the_air_needs_no_offset():
    assert judged(user=heard(3.003, 0.5))[-1].severity == "ok"


@pytest.mark.parametrize("bot", [[], heard(count=2), heard(clarity=0.4)])
def test_a_loopback_that_does_not_hear_the_loudspeaker_clearly_is_a_failure(bot):
    first = judged(bot=bot)[0]
    assert first.severity == "failure"
    assert "edgerec loopback" in first.fix


@pytest.mark.parametrize(
    ("below_db", "severity", "said"),
    [
        (0.0, "ok", "0 dB below"),
        (-6.0, "ok", "6 dB above"),
        (29.0, "ok", "29 dB below"),
        (31.0, "warning", "31 dB below"),
        (59.8, "warning", "60 dB below"),  # 10 % of PulseAudio's volume, measured
    ],
)
def test_a_loopback_that_is_turned_down_is_told_with_how_much(below_db, severity, said):
    first = judged(bot=heard(rms_dbfs=PLAYED_DBFS - below_db))[0]
    assert first.severity == severity
    assert f"{said} what was played" in first.told
    assert ("set-sink-volume" in first.fix) == (severity == "warning")


def test_sweeps_at_a_tenth_of_a_servers_volume_are_found_with_their_level(tmp_path):
    """They have 6 of 16 bits left: clear enough to say that it is the volume."""
    write_sweeps(tmp_path / "sweeps.wav")
    with wave.open(str(tmp_path / "sweeps.wav"), "rb") as file:
        loud = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    for percent, below_db in ((100, 0), (10, 60)):
        bot = find_sweeps(np.rint(loud * (percent / 100) ** 3).astype(np.int16), RATE_HZ)
        assert f", {below_db} dB below what was played" in judged(bot=bot)[0].told


def test_a_microphone_that_hears_nothing_is_told():
    assert [one.severity for one in judged(user=heard(count=1))] == ["ok", "warning"]


@pytest.mark.parametrize(("level", "severity"), [(-3.0, "warning"), (-60.0, "note"), (-30, "ok")])
def test_the_level_at_the_microphone_is_judged(level, severity):
    assert judged(user=heard(3.08, 0.5, level))[1].severity == severity


def test_a_microphone_that_is_the_loopback_is_a_failure():
    assert judged(user=heard(3.0003, 0.999))[-1].severity == "failure"


def test_tracks_that_are_off_are_not_judged():
    assert [one.severity for one in judged(kiosk(source="none"))] == ["ok"]


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda tool: f"/usr/bin/{tool}")


@pytest.mark.parametrize(
    ("bot", "output", "command"),
    [
        ("pulse:spk.monitor", None, ["paplay", "--device=spk"]),
        ("alsa:Loopback,1", None, ["aplay", "-q", "-D", "default"]),
        (None, None, ["aplay", "-q", "-D", "default"]),
        ("alsa:Loopback,1", "pulse:hdmi", ["paplay", "--device=hdmi"]),
        ("pulse:spk.monitor", "hw:1", ["aplay", "-q", "-D", "hw:1"]),
    ],
)
def test_sweeps_are_played_where_the_loopback_listens(tools, bot, output, command):
    assert player_command(kiosk(bot=bot), output) == command


def test_sweeps_are_played_on_what_the_loopback_s_port_is_called_today(tools, monkeypatch):
    wanted = "pulse:spk.monitor@usb-0000:01:00.0-1.3"

    def find(device):
        assert device == wanted
        return DeviceInfo("pulse:spk.2.monitor", "Speaker", "ALSA", 0, 48_000, 2, False)

    monkeypatch.setattr(sound_check, "find_device", find)
    assert player_command(kiosk(bot=wanted), None) == ["paplay", "--device=spk.2"]

    def lose(device):
        raise DeviceError("it is gone", "plug it in")

    monkeypatch.setattr(sound_check, "find_device", lose)
    with pytest.raises(SoundCheckError, match="it is gone; plug it in"):
        player_command(kiosk(bot=wanted), None)


def test_a_player_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(SoundCheckError, match="apt install alsa-utils"):
        player_command(kiosk(bot=None), None)


def simulated(root):
    track = TrackConfig(source="simulated")
    return Config(tracks=TracksConfig(track, track), storage=StorageConfig(root=root))


def test_it_records_with_the_pipeline_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sound_check, "STARTS_S", PATIENCE_S)
    monkeypatch.setattr(sound_check, "ECHO_S", 1.0)
    check = play_and_record(simulated(tmp_path / "root"), [sys.executable, "-c", "pass"])
    # A conversation and no sweep in it; what is a little like one in a moment of it is not clear.
    assert set(check.heard) == {"user", "bot"}
    heard = [sweep for sweeps in check.heard.values() for sweep in sweeps]
    assert all(sweep.clarity < CLEAR for sweep in heard)
    assert list(tmp_path.iterdir()) == []


def test_a_player_that_fails_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(sound_check, "STARTS_S", PATIENCE_S)
    player = [sys.executable, "-c", "raise SystemExit('no such sink')"]
    with pytest.raises(SoundCheckError, match="no such sink"):
        play_and_record(simulated(tmp_path / "root"), player)


def test_a_device_that_does_not_deliver_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(sound_check, "STARTS_S", 1.0)
    config = simulated(tmp_path / "root")
    absent = TrackConfig(device="no-such-microphone")
    config = Config(tracks=TracksConfig(absent, config.tracks.bot), storage=config.storage)
    with pytest.raises(SoundCheckError, match=r"no audio .user: "):
        play_and_record(config, ["true"])

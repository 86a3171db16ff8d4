"""What the doctor makes of machines as tests have them."""

import pytest

from edgerec.config import (
    Config,
    DetectorConfig,
    RecordingConfig,
    RetentionConfig,
    StorageConfig,
    TurnsConfig,
)
from edgerec.doctor import checkup
from edgerec.doctor.checkup import (
    check_clock,
    check_disk,
    check_permissions,
    check_power,
    check_service,
    check_turns,
    read_throttled,
)
from edgerec.health.snapshot import status_of
from edgerec.store import disk
from tests.rigs.made_statuses import FACTS, WELL


def found(findings):
    findings = list(findings)
    assert all(f.fix for f in findings if f.severity != "ok"), "every finding has a fix"
    return [(f.severity, f.told) for f in findings]


def stored(root, **retention):
    return Config(storage=StorageConfig(root=root), retention=RetentionConfig(**retention))


def test_a_root_that_can_be_written_is_fine_and_nothing_is_left_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(checkup, "LEAST_FREE_BYTES", 0)
    config = stored(tmp_path / "root", min_free_bytes=0)
    assert ("ok", f"{tmp_path} can be written to") in found(check_permissions(config))
    assert [s for s, _ in found(check_disk(config, iter(range(99)).__next__))] == ["ok", "warning"]
    assert list(tmp_path.iterdir()) == []


def test_a_root_whose_parent_is_missing_or_closed_is_a_failure(tmp_path, monkeypatch):
    told = found(check_permissions(stored(tmp_path / "absent" / "root")))
    assert ("failure", f"{tmp_path}/absent is not there") in told
    assert found(check_disk(stored(tmp_path / "absent" / "root"))) == []
    monkeypatch.setattr(checkup.os, "access", lambda path, mode: False)
    told = found(check_permissions(stored(tmp_path)))
    assert ("failure", f"this user may not write to {tmp_path}") in told


def test_sound_devices_that_are_closed_to_this_user_are_a_failure(tmp_path, monkeypatch):
    (tmp_path / "pcmC0D0c").touch()
    monkeypatch.setattr(checkup, "SOUND_FOLDER", tmp_path)
    monkeypatch.setattr(checkup.os, "access", lambda path, mode: False)
    told = found(check_permissions(Config(storage=StorageConfig(root=tmp_path))))
    assert ("failure", f"this user may not open {tmp_path}/pcmC0D0c") in told


def test_a_disk_with_little_room_is_a_warning(tmp_path):
    config = stored(tmp_path, min_free_bytes=10**15)
    severity, told = found(check_disk(config))[0]
    assert severity == "warning"
    assert "GB free" in told


@pytest.mark.parametrize(
    ("medium", "severity", "told"),
    [
        ("memory", "warning", "is in memory, gone at the next boot"),
        ("unknown", "note", "is on an overlay whose upper layer can't be seen"),
    ],
)
def test_a_root_in_memory_is_told_and_its_speed_not_praised(
    tmp_path, monkeypatch, medium, severity, told
):
    monkeypatch.setattr(checkup, "medium_of", lambda folder: medium)
    findings = found(check_disk(stored(tmp_path, min_free_bytes=0)))
    assert any(s == severity and told in t for s, t in findings)
    assert any("durable writing" in t for _, t in findings) is (medium == "unknown")


def test_a_disk_on_which_nothing_can_be_published_is_a_failure(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(disk, "_rename_noreplace", without_renameat2(38))
    monkeypatch.setattr(disk.os, "link", refuse)
    findings = found(check_disk(stored(tmp_path, min_free_bytes=0)))
    assert any(s == "failure" and "nothing could ever be published" in t for s, t in findings)


def without_renameat2(number):
    def rename(source, target):
        raise OSError(number, "not here")

    return rename


def test_a_disk_that_fails_is_told_and_not_raised(tmp_path, monkeypatch):
    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkup.os, "write", full)
    told = found(check_disk(stored(tmp_path, min_free_bytes=0)))
    assert told[-1] == ("failure", f"writing to {tmp_path}: No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_the_clock_is_told_either_way():
    assert found(check_clock(state=lambda: (True, 12.3))) == [
        ("ok", "the wall clock is synchronised, within 12 ms")
    ]
    assert found(check_clock(state=lambda: (False, None)))[0][0] == "note"


@pytest.mark.parametrize(
    ("trust_rtc", "trouble", "severity", "says"),
    [
        (True, None, "ok", "trusted for its battery-backed clock"),
        (True, "rtc0 can't be read", "warning", "storage.trust_rtc does not help: rtc0 can't be"),
        (False, None, "note", "not synchronised"),
        (False, "there is no battery-backed clock", "note", "not synchronised"),
    ],
)
def test_a_battery_backed_clock_is_told_where_it_is_and_where_it_is_not(
    trust_rtc, trouble, severity, says
):
    (finding,) = check_clock(
        trust_rtc=trust_rtc, state=lambda: (False, None), rtc=lambda utc_ns: trouble
    )
    assert finding.severity == severity
    assert says in finding.told
    assert ("storage.trust_rtc: true" in finding.fix) == (not trust_rtc and trouble is None)


@pytest.mark.parametrize(
    ("flags", "severity", "says"),
    [
        (0, "ok", "enough power"),
        (0x5, "warning", "now: under-voltage, throttling"),
        (0x80000, "warning", "since the boot: the soft temperature limit"),
    ],
)
def test_the_pi_says_whether_it_had_enough_power(flags, severity, says):
    ((told_severity, told),) = found(check_power(lambda: flags))
    assert told_severity == severity
    assert says in told


def test_a_machine_that_is_no_pi_has_no_flags(tmp_path, monkeypatch):
    monkeypatch.setattr(checkup, "THROTTLED_FILE", tmp_path / "throttled")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_throttled() is None
    assert found(check_power(read_throttled)) == []
    (tmp_path / "throttled").write_text("50005\n")
    assert read_throttled() == 0x50005
    (tmp_path / "throttled").unlink()
    (tmp_path / "vcgencmd").write_text("#!/bin/sh\necho throttled=0x1\n")
    (tmp_path / "vcgencmd").chmod(0o755)
    assert read_throttled() == 1


def turns(detector, *, enabled=True, all_of_it=True):
    return Config(
        recording=RecordingConfig(enable_turn_audio=enabled, user_continuous_stream=all_of_it),
        turns=TurnsConfig(detector=DetectorConfig(user=detector)),
    )


@pytest.mark.parametrize(
    ("detector", "installed", "severity", "says"),
    [
        ("silero", True, "ok", "silero finds the user's turns"),
        ("auto", True, "ok", "silero finds the user's turns"),
        ("auto", False, "note", "earshot finds the user's turns"),
        ("silero", False, "warning", "no turns will be found"),
    ],
)
def test_a_detector_that_is_not_installed_is_told(detector, installed, severity, says):
    ((given, told),) = found(check_turns(turns(detector), lambda: installed))
    assert given == severity and says in told


def test_a_detector_that_is_missed_where_speech_only_is_recorded_is_told_with_what_that_means():
    speech_only = turns("silero", enabled=False, all_of_it=False)
    ((severity, told),) = found(check_turns(speech_only, lambda: False))
    assert severity == "warning"
    assert "all of the microphone will be recorded" in told


def test_a_detector_that_is_always_there_or_not_used_is_nothing_to_tell():
    assert found(check_turns(turns("earshot"), lambda: False)) == []
    assert found(check_turns(turns("silero", enabled=False), lambda: False)) == []


def test_what_the_service_says_of_itself_is_passed_on():
    assert found(check_service(None, "no service at /x"))[0][0] == "note"
    assert found(check_service(status_of(WELL))) == [
        ("ok", "it runs, and is ok"),
        ("ok", "user: a peak of -3 dBFS in the last second"),
    ]
    ((severity, told),) = found(check_service(status_of(FACTS)))
    assert severity == "failure"
    assert "no frame for 1.2 s" in told

"""The files that remember the echo: daily statistics, and what the doctor has measured."""

import errno
import json
import os
import stat
from dataclasses import replace

import pytest

from edgerec.config import Config, StorageConfig, TrackConfig, TracksConfig
from edgerec.doctor.alignment import HeardSweep
from edgerec.doctor.sound_check import SoundCheck, log_chirp
from edgerec.health.echo_history import FILE as ECHO_FILE
from edgerec.health.echo_history import SAMPLE_NS, EchoHistory
from edgerec.health.echo_memory import (
    CHIRP_FILE,
    MAX_BYTES,
    MAX_CHIRP_BYTES,
    MAX_CHIRPS,
    MAX_DAYS,
    MAX_ERA,
    MAX_SAMPLES,
    MAX_SETUP,
    Day,
    Remembered,
    Sample,
    add_chirp,
    read_chirps,
    read_echo,
    write_echo,
)
from edgerec.health.status import Chirp, Spread
from edgerec.validation.bounded_json import JsonError
from tests.rigs.failing_disk import failing_call
from tests.rigs.fakes import FakeClock

CHIRP = Chirp("2026-11-22T10:15:00Z", True, 61.5, -20.0, -9.0)


def heard(first_s, rms_dbfs, count=3):
    return [HeardSweep(first_s + 2.5 * n, 0.9, rms_dbfs) for n in range(count)]


def kiosk(root):
    tracks = TracksConfig(TrackConfig(offset_ms=60), TrackConfig(offset_ms=2))
    return Config(tracks=tracks, storage=StorageConfig(root=root))


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root" / ".state").mkdir(parents=True)
    return tmp_path / "root"


def logged(root, user, clock=None):
    check = SoundCheck({"user": user, "bot": heard(3.0, -9.0)})
    return list(log_chirp(kiosk(root), check, (clock or FakeClock()).read()))


def test_a_chirp_is_kept_without_the_offsets_and_held_against_the_one_before(root):
    assert logged(root, heard(3.01, -20.0)) == []
    clock = FakeClock()
    clock.trusted = False
    (finding,) = logged(root, heard(3.014, -26.0), clock)
    assert (finding.severity, finding.told[:33]) == ("ok", "+4.0 ms against the chirp of 2026")
    first, second = read_chirps(root / ".state" / CHIRP_FILE)
    assert (first.delay_ms, first.user_dbfs, first.bot_dbfs) == (68.0, -20.0, -9.0)
    assert (second.delay_ms, second.user_dbfs, second.utc_trusted) == (72.0, -26.0, False)
    assert stat.S_IMODE((root / ".state" / CHIRP_FILE).stat().st_mode) & 0o007 == 0


def test_a_microphone_that_hears_nothing_is_kept_too(root):
    assert logged(root, []) == []
    (kept,) = read_chirps(root / ".state" / CHIRP_FILE)
    assert (kept.delay_ms, kept.user_dbfs) == (None, None)


def test_nothing_is_made_where_nothing_records(tmp_path):
    assert logged(tmp_path / "root", heard(3.01, -20.0)) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nth", [1, 4])  # the first look at what is there, and after all of them
def test_a_disk_that_does_not_take_it_is_a_note(root, nth):
    with failing_call(nth, errno.ENOSPC):
        (finding,) = logged(root, heard(3.01, -20.0))
    assert (finding.severity, finding.told.startswith("not remembered")) == ("note", True)


def test_the_oldest_goes_and_the_file_has_a_fixed_size(tmp_path):
    longest = replace(CHIRP, delay_ms=-1_234.5678901234567, user_dbfs=-123.45678901234567)
    for nth in range(MAX_CHIRPS + 5):
        add_chirp(tmp_path / CHIRP_FILE, replace(longest, bot_dbfs=float(nth)))
    kept = read_chirps(tmp_path / CHIRP_FILE)
    assert [one.bot_dbfs for one in kept] == [float(n) for n in range(5, MAX_CHIRPS + 5)]
    assert (tmp_path / CHIRP_FILE).stat().st_size <= MAX_CHIRP_BYTES


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"chirps": 7}',
        b'{"chirps": ["x"]}',
        b'{"chirps": [{"utc": "x", "utc_trusted": 1, "delay_ms": NaN}]}',
        b" " * (MAX_CHIRP_BYTES + 1),
    ],
)
def test_foreign_content_is_said_and_started_again(tmp_path, caplog, content):
    (tmp_path / CHIRP_FILE).write_bytes(content)
    assert read_chirps(tmp_path / CHIRP_FILE) == ()
    assert str(tmp_path / CHIRP_FILE) in caplog.text
    add_chirp(tmp_path / CHIRP_FILE, CHIRP)
    assert read_chirps(tmp_path / CHIRP_FILE) == (CHIRP,)


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / CHIRP_FILE)
    assert read_chirps(tmp_path / CHIRP_FILE) == ()


def test_the_service_shows_the_last_one_and_reads_it_once(tmp_path, caplog):
    clock = FakeClock()
    history = EchoHistory(tmp_path, clock)
    assert history.known.status.chirp is None

    def five_minutes_later():
        clock.raw_ns += SAMPLE_NS
        history.step(clock.raw_ns, lambda: None)
        return history.known.status.chirp

    add_chirp(tmp_path / CHIRP_FILE, CHIRP)
    assert five_minutes_later() == CHIRP
    (tmp_path / CHIRP_FILE).write_text("{")
    for _ in range(3):
        assert five_minutes_later() is None
    assert caplog.text.count("can't be read") == 1


# The daily statistics


VALID = json.dumps(
    {"format": "edgerec-echo/1", "setup": "", "era": 0, "date": None, "samples": [], "days": []}
).encode()


def longest():
    """The most that is ever remembered."""
    name = "\N{MUSICAL SYMBOL G CLEF}" * MAX_SETUP  # JSON writes twelve characters of it
    spread = Spread(-9_999.9, -9_999.9, -9_999.9)
    day = Day("2026-11-30", name, MAX_ERA, MAX_SAMPLES, spread, spread, -9_999.9)
    sample = Sample(-9_999.9, -9_999.9, MAX_ERA)
    return Remembered(name, MAX_ERA, "2026-11-30", (sample,) * MAX_SAMPLES, (day,) * MAX_DAYS)


def test_the_file_never_grows_past_what_is_read_back(tmp_path):
    write_echo(tmp_path / ECHO_FILE, longest())
    assert (tmp_path / ECHO_FILE).stat().st_size <= MAX_BYTES
    assert read_echo(tmp_path / ECHO_FILE) == longest()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b'{"format": "another/1"}',
        b'{"format": "edgerec-echo/1"}',
        b"[" * 100_000,
        VALID + b" " * MAX_BYTES,
        *(
            json.dumps(json.loads(VALID) | wrong).encode()
            for wrong in (
                {"era": -1},
                {"date": "soon"},
                {"date": "2026-13-01"},
                {"setup": "x" * (MAX_SETUP + 1)},
                {"samples": [[1, 2]]},
                {"samples": [[10_001, 2, 3]]},
                {"samples": [[True, 2, 3]]},
                {"samples": [[float("nan"), 2, 3]]},
                {"samples": 7},
                {"days": [{}]},
                {"days": {"a": 1}},
            )
        ),
    ],
)
def test_statistics_that_are_not_whole_are_refused(tmp_path, content):
    (tmp_path / ECHO_FILE).write_bytes(content)
    with pytest.raises(JsonError):
        read_echo(tmp_path / ECHO_FILE)


def test_the_last_samples_and_days_of_a_longer_file_are_read(tmp_path):
    kept = longest()
    sample = replace(kept.today[0], era=1)
    earlier = replace(kept.days[0], era=1)
    longer = replace(kept, today=(sample, *kept.today), days=(earlier, *kept.days))
    write_echo(tmp_path / ECHO_FILE, longer)
    assert read_echo(tmp_path / ECHO_FILE) == kept

"""What the doctor's sweeps have measured is kept, and shown by the service."""

import errno
import os
import stat
from dataclasses import replace

import pytest

from edgerec.config import Config, StorageConfig, TrackConfig, TracksConfig
from edgerec.doctor.alignment import HeardSweep
from edgerec.doctor.sound_check import SoundCheck, log_chirp
from edgerec.health.chirp_log import FILE, MAX_BYTES, MAX_CHIRPS, add_chirp, read_chirps
from edgerec.health.echo_history import SAMPLE_NS, EchoHistory
from edgerec.health.status import Chirp
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
    first, second = read_chirps(root / ".state" / FILE)
    assert (first.delay_ms, first.user_dbfs, first.bot_dbfs) == (68.0, -20.0, -9.0)
    assert (second.delay_ms, second.user_dbfs, second.utc_trusted) == (72.0, -26.0, False)
    assert stat.S_IMODE((root / ".state" / FILE).stat().st_mode) & 0o007 == 0


def test_a_microphone_that_hears_nothing_is_kept_too(root):
    assert logged(root, []) == []
    (kept,) = read_chirps(root / ".state" / FILE)
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
        add_chirp(tmp_path / FILE, replace(longest, bot_dbfs=float(nth)))
    kept = read_chirps(tmp_path / FILE)
    assert [one.bot_dbfs for one in kept] == [float(n) for n in range(5, MAX_CHIRPS + 5)]
    assert (tmp_path / FILE).stat().st_size <= MAX_BYTES


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"chirps": 7}',
        b'{"chirps": ["x"]}',
        b'{"chirps": [{"utc": "x", "utc_trusted": 1, "delay_ms": NaN}]}',
        b" " * (MAX_BYTES + 1),
    ],
)
def test_foreign_content_is_said_and_started_again(tmp_path, caplog, content):
    (tmp_path / FILE).write_bytes(content)
    assert read_chirps(tmp_path / FILE) == ()
    assert str(tmp_path / FILE) in caplog.text
    add_chirp(tmp_path / FILE, CHIRP)
    assert read_chirps(tmp_path / FILE) == (CHIRP,)


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / FILE)
    assert read_chirps(tmp_path / FILE) == ()


def test_the_service_shows_the_last_one_and_reads_it_once(tmp_path, caplog):
    clock = FakeClock()
    history = EchoHistory(tmp_path, clock)
    assert history.known.status.chirp is None

    def five_minutes_later():
        clock.raw_ns += SAMPLE_NS
        history.step(clock.raw_ns, lambda: None)
        return history.known.status.chirp

    add_chirp(tmp_path / FILE, CHIRP)
    assert five_minutes_later() == CHIRP
    (tmp_path / FILE).write_text("{")
    for _ in range(3):
        assert five_minutes_later() is None
    assert caplog.text.count("can't be read") == 1

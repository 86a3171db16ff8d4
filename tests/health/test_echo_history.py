"""Months of echo in simulated time: what is remembered of it, and what is told."""

import json
import os
import stat
from dataclasses import replace

import pytest

from edgerec.audio import EchoReport, SourceState, TrackReport
from edgerec.config import Config, TrackConfig, TracksConfig
from edgerec.health import echo_history
from edgerec.health.echo_history import (
    DAY_NS,
    FILE,
    SAMPLE_NS,
    SHOWN_DAYS,
    EchoHistory,
    Observation,
    observe,
)
from edgerec.health.echo_memory import (
    MAX_DAYS,
    MAX_SAMPLES,
    RECENT,
    STEP_MS,
    USUAL_DAYS,
    Day,
    Remembered,
    Sample,
    read_echo,
    write_echo,
)
from edgerec.health.status import Spread
from tests.rigs.failing_disk import failing_looks
from tests.rigs.fakes import START_NS, FakeClock, S
from tests.rigs.made_statuses import session
from tests.rigs.recorder_rig import begun
from tests.rigs.waiting import wait_for

CARDS = "alsa:Mic,0 alsa:Loopback,1"
SERVED = "pulse:mic pulse:speaker.monitor"
A_DAY = 20  # samples: the bot spoke for 100 minutes


class Kiosk:
    """A history whose bot speaks for the first part of each day, in an echo as a test sets it."""

    def __init__(self, folder, setup=CARDS, *, steady=True):
        self.folder = folder
        self.clock = FakeClock()
        self.setup, self.steady, self.restarts = setup, steady, 0
        self.delay_ms, self.level_db = 60.0, -20.0
        self._measured = 0
        self.start()

    def start(self):
        """Start the service, again."""
        self.history = EchoHistory(self.folder, self.clock)

    def hears(self, samples=RECENT, wobble=0.2):
        """Let the bot speak for as long as so many samples take; return what is told then."""
        for _ in range(samples):
            self._measured += 1
            off = wobble * (self._measured % 3 - 1)
            echo = EchoReport(round(self.delay_ms + off, 1), round(self.level_db + off, 1))
            self._pass(SAMPLE_NS, echo)
        return [reason.code for reason in self.history.known.reasons]

    def days(self, days, samples=A_DAY):
        """Let so many days pass; return what is told at the end."""
        for _ in range(days):
            began_ns = self.clock.raw_ns
            codes = self.hears(samples)
            self.clock.raw_ns = began_ns + DAY_NS
        return codes

    def is_silent(self, seconds):
        """Let the bot be silent: the last report stays."""
        for _ in range(round(seconds * S / SAMPLE_NS)):
            self._pass(SAMPLE_NS, self._echo)

    def _pass(self, ns, echo):
        self.clock.raw_ns += ns
        self._echo = echo
        lasting = self.setup == CARDS
        told = Observation(echo, self.setup, self.restarts, self.steady, lasting)
        self.history.step(self.clock.raw_ns, lambda: told)

    @property
    def shown(self):
        return self.history.known.status

    def remembered(self):
        self.history.save()
        return read_echo(self.folder / FILE)


@pytest.fixture
def kiosk(tmp_path):
    return Kiosk(tmp_path)


def test_days_are_remembered_with_their_spread_and_outlive_the_service(kiosk):
    assert kiosk.days(5) == []
    kiosk.history.save()
    kiosk.start()
    kiosk.hears(1)
    assert kiosk.shown.kept_days == 6
    first = kiosk.shown.days[0]
    assert first.delay_ms == Spread(59.8, 60.0, 60.2)
    assert first.level_db == Spread(-20.2, -20.0, -19.8)
    assert first.count == A_DAY
    dates = [day.date for day in kiosk.shown.days]
    assert dates == sorted(set(dates))
    assert (kiosk.shown.usual_delay_ms, kiosk.shown.usual_level_db) == (60.0, -20.0)
    assert stat.S_IMODE((kiosk.folder / FILE).stat().st_mode) & 0o007 == 0


def test_a_service_that_is_started_again_goes_on_with_the_same_day(kiosk):
    kiosk.hears(5)
    kiosk.history.save()
    kiosk.start()
    kiosk.hears(5)
    (day,) = kiosk.shown.days
    assert day.count == 10


def test_a_silent_bot_is_no_sample(kiosk):
    kiosk.hears(4)
    kiosk.is_silent(7_200)
    (day,) = kiosk.shown.days
    assert day.count == 4


@pytest.mark.parametrize(("fallen_db", "codes"), [(8, []), (12, ["echo_faint"])])
def test_a_microphone_that_gets_dull_is_told_after_a_quarter_of_an_hour(kiosk, fallen_db, codes):
    kiosk.days(3)
    kiosk.level_db -= fallen_db
    assert kiosk.hears(1) == []  # one sample is none
    assert kiosk.hears(2) == codes
    for reason in kiosk.history.known.reasons:
        assert f"{fallen_db} dB fainter" in reason.why
        assert reason.hint


def test_the_first_samples_of_a_start_are_not_believed_alone(kiosk):
    kiosk.days(3)
    kiosk.history.save()
    kiosk.start()
    kiosk.level_db -= 12
    assert kiosk.hears(2) == []
    assert kiosk.hears(1) == ["echo_faint"]


def test_a_delay_has_no_usual_before_five_samples(kiosk):
    kiosk.delay_ms = 120.0
    kiosk.hears(2)
    kiosk.delay_ms = 60.0
    assert [kiosk.hears(1) for _ in range(5)] == [[]] * 5


def test_a_level_has_no_usual_before_three_days_in_which_the_bot_spoke(kiosk):
    kiosk.days(2)
    kiosk.days(5, samples=2)
    kiosk.level_db -= 30
    assert kiosk.hears() == []


def test_a_level_at_the_threshold_is_one_warning(kiosk):
    kiosk.days(3)
    kiosk.level_db -= 10.5
    assert kiosk.hears() == ["echo_faint"]
    kiosk.level_db += 1
    assert kiosk.hears() == ["echo_faint"]
    kiosk.level_db += 3
    assert kiosk.hears() == []


def test_a_change_for_good_is_usual_after_a_week(kiosk):
    kiosk.days(USUAL_DAYS)
    kiosk.level_db -= 15
    kiosk.delay_ms += 30
    assert kiosk.days(USUAL_DAYS // 2) == ["echo_moved", "echo_faint"]
    assert kiosk.days(3) == []


@pytest.mark.parametrize("setup", [CARDS, SERVED])
@pytest.mark.parametrize("step_ms", [STEP_MS + 1, -STEP_MS - 1])
def test_a_step_of_the_delay_while_the_devices_are_open_is_told(tmp_path, setup, step_ms):
    kiosk = Kiosk(tmp_path, setup)
    kiosk.hears(5)
    kiosk.delay_ms += step_ms
    assert kiosk.hears(2) == ["echo_moved"]  # of three that are looked at
    assert kiosk.hears(40) == ["echo_moved"]
    kiosk.delay_ms -= step_ms
    assert kiosk.hears() == []


@pytest.mark.parametrize(("setup", "codes"), [(CARDS, ["echo_moved"]), (SERVED, [])])
@pytest.mark.parametrize("service_too", [False, True])
def test_a_server_explains_a_step_where_a_device_was_opened_again_a_card_does_not(
    tmp_path, setup, codes, service_too
):
    kiosk = Kiosk(tmp_path, setup)
    kiosk.days(3)
    if service_too:
        kiosk.history.save()
        kiosk.start()
    else:
        kiosk.restarts += 1
    kiosk.delay_ms += 40
    assert kiosk.hears() == codes
    assert kiosk.hears(10) == codes


def test_the_delay_of_a_feed_is_its_applications(tmp_path):
    kiosk = Kiosk(tmp_path, "alsa:Mic,0 assistant", steady=False)
    kiosk.hears(5)
    kiosk.delay_ms += 100
    assert kiosk.hears() == []


def test_another_microphone_has_nothing_to_do_with_the_one_before(kiosk):
    kiosk.days(4)
    kiosk.hears(2)
    kiosk.setup = "alsa:Other,0 alsa:Loopback,1"
    kiosk.level_db -= 20
    kiosk.delay_ms += 50
    assert kiosk.hears(10) == []
    assert [day.count for day in kiosk.remembered().days][-1] == 2  # a day is of one microphone


# Time


@pytest.mark.parametrize("back_s", [3_600, 86_400, 30 * 86_400])
def test_a_wall_clock_that_is_set_back_makes_no_days(kiosk, back_s):
    kiosk.days(3)
    before = kiosk.shown.kept_days
    kiosk.clock.utc_offset_ns -= back_s * S
    kiosk.hears(10)
    assert kiosk.shown.kept_days - before <= 1  # it is another day than the last one: no more
    kiosk.hears(10)
    assert kiosk.shown.kept_days - before <= 1


def test_days_go_on_behind_a_clock_that_was_years_ahead(kiosk):
    kiosk.clock.utc_offset_ns += 3_000 * DAY_NS
    kiosk.days(1)
    kiosk.clock.utc_offset_ns -= 3_000 * DAY_NS
    kiosk.days(3)
    dates = [day.date[:4] for day in kiosk.shown.days]
    assert len(dates) == 4
    assert dates[0] > dates[1]
    assert len(set(dates[1:])) == 1


def test_a_clock_that_is_never_trusted_makes_a_day_of_each_24_hours_without_a_date(kiosk):
    kiosk.clock.trusted = False
    kiosk.days(4)
    assert [day.date for day in kiosk.shown.days] == [None] * 4
    kiosk.level_db -= 12
    assert kiosk.hears() == ["echo_faint"]


def test_a_day_that_began_untrusted_gets_the_date_when_it_is_known(kiosk):
    kiosk.clock.trusted = False
    kiosk.hears(3)
    assert kiosk.shown.days[0].date is None
    kiosk.clock.trusted = True
    kiosk.hears(3)
    (day,) = kiosk.shown.days
    assert day.date is not None
    assert day.count == 6


def test_a_clock_that_never_moves_to_another_date_fills_days_of_a_fixed_size(kiosk):
    for _ in range(3 * MAX_SAMPLES):
        kiosk.clock.utc_offset_ns -= SAMPLE_NS  # it stands still
        kiosk.hears(1)
    assert kiosk.shown.kept_days == 3
    assert max(day.count for day in kiosk.shown.days) <= MAX_SAMPLES


def test_a_kiosk_that_is_switched_off_each_night_and_has_no_clock_fills_days_too(kiosk):
    kiosk.clock.trusted = False
    for _ in range(4):
        kiosk.hears(100)
        kiosk.history.save()
        kiosk.start()
    assert [day.count for day in kiosk.shown.days] == [MAX_SAMPLES, 400 - MAX_SAMPLES]


# The file


def test_the_oldest_day_goes_when_a_year_is_kept(kiosk):
    spread = Spread(60.0, 60.0, 60.0)
    day = Day("2026-11-30", CARDS, 1, A_DAY, spread, spread, 60.0)
    write_echo(kiosk.folder / FILE, Remembered(CARDS, 1, None, (), (day,) * MAX_DAYS))
    kiosk.start()
    kiosk.days(3, samples=1)
    kept = kiosk.remembered()
    assert len(json.loads((kiosk.folder / FILE).read_text())["days"]) == MAX_DAYS
    assert kept.days[-1].count == 1
    assert len(kiosk.shown.days) == SHOWN_DAYS


def test_foreign_content_is_started_again_and_said(tmp_path, caplog):
    (tmp_path / FILE).write_bytes(b"{")
    kiosk = Kiosk(tmp_path)
    assert "started again" in caplog.text
    assert str(tmp_path / FILE) in kiosk.shown.trouble
    kiosk.hears(2)
    assert len(kiosk.remembered().today) == 2


def test_a_pipe_in_its_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / FILE)
    assert Kiosk(tmp_path).shown.trouble


def test_a_disk_that_does_not_take_it_is_told_of_and_costs_nothing_else(tmp_path, caplog):
    kiosk = Kiosk(tmp_path / "missing")
    kiosk.hears(15)  # an hour, and a quarter
    assert "echo history can't be saved" in caplog.text
    assert kiosk.shown.kept_days == 1
    (tmp_path / "missing").mkdir()
    assert len(kiosk.remembered().today) == 15


def test_it_is_written_once_an_hour(kiosk):
    kiosk.hears(11)
    assert not (kiosk.folder / FILE).exists()
    kiosk.hears(1)
    written = (kiosk.folder / FILE).stat().st_ino
    kiosk.hears(11)
    assert (kiosk.folder / FILE).stat().st_ino == written


# What is observed


STATES = {name: SourceState("running", START_NS, "", 2) for name in ("user", "bot")}
ECHO = EchoReport(62.0, -9.5)


def timeline(user="alsa:Mic,0", bot="alsa:Loopback,1", echo=ECHO):
    return session(5, reports={"user": TrackReport(user), "bot": TrackReport(bot)}, echo=echo)


def test_the_delay_is_the_devices_whatever_offset_is_set():
    config = Config(tracks=TracksConfig(TrackConfig(offset_ms=60), TrackConfig(offset_ms=2.5)))
    seen = observe(config, timeline(), STATES)
    assert seen == Observation(EchoReport(119.5, -9.5), CARDS, 4, steady=True, lasting=True)


def test_a_sound_server_in_between_does_not_last():
    assert observe(Config(), timeline(user="pulse:mic"), STATES).lasting is False


def test_there_is_nothing_to_observe_without_an_echo_a_session_or_one_of_the_devices():
    assert observe(Config(), None, STATES) is None
    assert observe(Config(), timeline(echo=EchoReport()), STATES) is None
    assert observe(Config(), timeline(user=None), STATES) is None
    assert observe(Config(), timeline(), {"user": STATES["user"]}) is None


def test_a_running_recorder_remembers_the_echo_and_its_status_has_it(running, monkeypatch):
    seen = iter(range(10_000))
    monkeypatch.setattr(
        "edgerec.engine.build.observe",
        lambda *_: Observation(EchoReport(60.0, -20.0 - next(seen) % 2), CARDS, 0, True, True),
    )
    monkeypatch.setattr(echo_history, "SAVE_NS", SAMPLE_NS)
    rig = running()
    begun(rig)
    rig.let_pass(2 * SAMPLE_NS / S)
    wait_for((rig.root / ".state" / FILE).exists)
    assert replace(read_echo(rig.root / ".state" / FILE).today[0], level_db=0) == Sample(60, 0, 1)
    assert rig.recorder.status().echo.delay_ms == 60.0


@pytest.mark.parametrize("kind", ["stat", "lstat"])
def test_a_folder_that_can_not_be_looked_at_ends_no_start(tmp_path, caplog, kind):
    with failing_looks(kind, tmp_path):
        known = EchoHistory(tmp_path, FakeClock()).known
    assert known.status.chirp is None
    assert ("whether there is a new chirp is not known" in caplog.text) is (kind == "stat")

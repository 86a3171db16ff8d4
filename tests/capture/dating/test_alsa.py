"""What the kernel says of a card's stream, as a date: the truest of some looks."""

import pytest

from edgerec.capture.dating import alsa as module
from edgerec.capture.dating.alsa import AlsaDating, alsa_dating
from edgerec.capture.dating.pulse import READING_ERROR_US

RATE = 48_000
S = 1_000_000_000
RAW_BEHIND_NS = 7 * S  # of CLOCK_MONOTONIC
ASKING_NS = 20_000
STATUS = """\
state: {state}
owner_pid   : 812
trigger_time: 4990.000001234
tstamp      : {at_s}.{at_ns:09d}
delay       : {delay}
avail       : {avail}
avail_max   : 24000
-----
hw_ptr      : 480000
appl_ptr    : 475200
"""


class Card:
    """A stream that the kernel looks at: its hardware gets on in steps."""

    def __init__(self, path, monkeypatch, *, step_ns=0):
        self.now_ns = 5_000 * S
        self.path = path
        self.step_ns = step_ns
        self.read = 0  # frames
        self.on_its_way = 0
        self.state = "RUNNING"
        self.came = lambda: 0  # frames, between the kernel's look and our count
        self.wait_ns = 0  # once, between our looks at two clocks
        self.began_ns = 4_990 * S
        monkeypatch.setattr(module, "_read", self._look)
        monkeypatch.setattr(module, "monotonic_now_ns", self._clock)
        monkeypatch.setattr(module, "raw_now_ns", lambda: self._clock() - RAW_BEHIND_NS)
        self.dating = AlsaDating(path, RATE, self.sleep)

    def sleep(self, seconds):
        self.now_ns += round(seconds * S)

    @property
    def frames(self):
        passed_ns = self.now_ns - self.began_ns
        if self.step_ns:
            passed_ns -= passed_ns % self.step_ns
        return passed_ns * RATE // S

    def _look(self, path):
        assert path == self.path
        avail = self._counted = self.frames - self.read
        at_s, at_ns = divmod(self.now_ns, S)
        text = STATUS.format(
            state=self.state, at_s=at_s, at_ns=at_ns, avail=avail, delay=avail + self.on_its_way
        )
        self.now_ns += ASKING_NS
        return text

    def _clock(self):
        now_ns = self.now_ns
        self.now_ns += self.wait_ns
        self.wait_ns = 0
        return now_ns

    def count(self):
        return self.read + self._counted + self.came()

    def error_ms(self):
        """Return how much later than the truth a reading says that its last frame was captured."""
        reading = self.dating.read(self.count)
        true_ns = self.began_ns + reading.frames * S / RATE - RAW_BEHIND_NS
        assert reading.error_us == READING_ERROR_US
        return (reading.captured_ns - true_ns) / 1e6


@pytest.fixture
def card(tmp_path, monkeypatch):
    return Card(tmp_path / "status", monkeypatch)


def test_the_newest_frame_was_captured_when_the_kernel_looked(card):
    assert abs(card.error_ms()) < 0.03  # a frame is 0.02 ms


def test_what_the_hardware_still_holds_was_captured_before_it(card):
    card.on_its_way = 96
    assert card.error_ms() == pytest.approx(-2, abs=0.03)


@pytest.mark.parametrize("step_ms", [1, 4, 8])
def test_of_hardware_that_gets_on_in_steps_the_truest_look_counts(tmp_path, monkeypatch, step_ms):
    card = Card(tmp_path / "status", monkeypatch, step_ns=step_ms * 1_000_000)
    for wait_s in (0.0, 0.0013, 0.0031, 0.0067):
        card.sleep(wait_s)
        assert 0 <= card.error_ms() + 0.03 < module.LOOK_AGAIN_S * 1e3 + 0.1


def test_frames_that_came_before_they_were_counted_are_not_dated(card):
    came = iter([0, 4_800, 0, 192])
    card.came = lambda: next(came, 0)
    assert abs(card.error_ms()) < 0.03


def test_a_process_that_had_to_wait_dates_by_another_look(card):
    card.wait_ns = 30_000_000
    assert abs(card.error_ms()) < 0.03


@pytest.mark.parametrize("state", ["XRUN", "PREPARED", "DISCONNECTED"])
def test_a_stream_that_does_not_run_has_no_date(card, state):
    card.state = state
    assert card.dating.read(card.count) is None


def test_a_card_that_has_gone_has_no_date(tmp_path):
    assert AlsaDating(tmp_path / "status", RATE, lambda _: None).read(lambda: 1) is None
    (tmp_path / "status").write_text("closed\n")
    assert AlsaDating(tmp_path / "status", RATE, lambda _: None).read(lambda: 1) is None


def test_the_stream_of_another_process_is_not_dated(tmp_path, monkeypatch):
    folder = tmp_path / "Mic" / "pcm1c" / "sub0"
    folder.mkdir(parents=True)
    text = STATUS.format(state="RUNNING", at_s=1, at_ns=0, avail=1, delay=1)
    (folder / "status").write_text(text)
    streams = module.alsa_streams
    monkeypatch.setattr(module, "alsa_streams", lambda device: streams(device, tmp_path))
    assert alsa_dating("alsa:Mic,1", 812, RATE) is not None
    assert alsa_dating("alsa:Mic,1", 813, RATE) is None

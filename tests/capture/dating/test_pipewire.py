"""Dates off PipeWire's cycles: of a simulated server whose every frame's instant is known."""

import json
import random

import pytest

from edgerec.capture.dating import pipewire as pipewire_dating_module
from edgerec.capture.dating.pipewire import (
    LEAST_LUMP_MS,
    LINGERS,
    LUMP_MS,
    LUMP_STEP_MS,
    PATIENCE_NS,
    PHASES,
    SENDS_BYTES,
    PipeWireDating,
    graph_rate,
    lump_ms,
    pipewire_dating,
    read_graph,
)
from edgerec.capture.dating.pulse import READING_ERROR_US
from tests.capture.dating.test_pipewire_graph import PID, link, ours, player, settings, sink

RATE = 48_000
LUMP = RATE * LUMP_MS // 1000
S = 1_000_000_000
MS = 1_000_000
AWAY_NS = 5 * MS
DELAY_NS = 2_400_000  # more than a step, and still waited for
EXACT_NS = 1_500_000  # half of what lies between two counts, and how late a cycle is here


class Server:
    """PipeWire as a stream of it sees it: frames in whole cycles, handed out in lumps."""

    def __init__(self, monkeypatch, *, follows=False, seed=1, lump=LUMP, rate=RATE):
        self.now_ns = 1000 * S
        self.quantum = 2048
        self.follows = follows
        self.is_linked = True
        self.dump = None  # what pw-dump prints in place of the graph
        self.blind_to = ()  # ends of lumps, within a cycle, for which the machine is away
        self._lump = lump
        self.looks = 0
        self._random = random.Random(seed)
        self._in_cycles = 0  # frames of all cycles so far
        self._lost = 0
        self._delayed = 0
        self._cycle_ns = self.now_ns
        self._due_ns = self.now_ns
        self._handed_out = 0
        self._changed = True
        monkeypatch.setattr(pipewire_dating_module, "raw_now_ns", lambda: self.now_ns)
        self.dating = PipeWireDating(PID, rate, self._take_change, self._dump, self._sleep)

    def change(self, quantum):
        self.quantum = quantum
        self._changed = True

    def lose(self, frames):
        self._lost += frames

    def delay(self):
        """Have the next cycles be seen late: one lump ends with them at most."""
        self._delayed = LUMP // self.quantum

    def count(self):
        return self._handed_out

    def read(self):
        self._sleep(0.02)
        return self.dating.read(self.count)

    def off_ns(self, reading):
        """Return how wrong a reading is: the last frame by then is played at its cycle's end."""
        played_ns = 1000 * S + self._ns(reading.frames + self._lost)
        if self.follows:
            played_ns += self._ns(self.quantum)
        return reading.captured_ns - played_ns

    def _ns(self, frames):
        return frames * S // RATE

    def _sleep(self, seconds):
        end_ns = self.now_ns + max(round(seconds * S), 1000)
        while self._due_ns <= end_ns:
            received = self._in_cycles - self._lost
            lumps = (received - self._handed_out) // self._lump
            self._handed_out += lumps * self._lump
            if lumps and self._handed_out % self.quantum in self.blind_to:
                end_ns += AWAY_NS
            self._cycle_ns += self._ns(self.quantum)
            self._in_cycles += self.quantum
            late_ns = self._random.randrange(0, MS // 2)
            if self._delayed:
                self._delayed -= 1
                late_ns += DELAY_NS
            self._due_ns = self._cycle_ns + late_ns
        self.now_ns = end_ns

    def _take_change(self):
        changed, self._changed = self._changed, False
        return changed

    def _dump(self):
        self.looks += 1
        if self.dump is not None:
            return self.dump
        latency = player(53, f"{self.quantum}/{RATE}")
        graph = [settings(), sink(38), sink(39), latency, link(53, 38), link(53, 39)]
        if self.is_linked:
            graph += [ours(), link(39 if self.follows else 38, 90)]
        return json.dumps(graph)


def readings(server, number):
    found = []
    while len(found) < number:
        reading = server.read()
        if reading is not None:
            found.append(reading)
    return found


@pytest.mark.parametrize("follows", [False, True])
@pytest.mark.parametrize("quantum", [256, 512, 1024, 2048])
def test_every_reading_is_exact_from_the_first_one_on(monkeypatch, quantum, follows):
    server = Server(monkeypatch, follows=follows)
    server.change(quantum)
    for reading in readings(server, 3 * PHASES):
        assert abs(server.off_ns(reading)) <= EXACT_NS
        assert reading.error_us == READING_ERROR_US


def test_a_cycle_of_another_length_moves_no_date(monkeypatch):
    """Lumps wait for the end of another cycle from then on."""
    server = Server(monkeypatch)
    readings(server, 5)
    for quantum in (512, 2048, 256, 1024, 2048):
        server.change(quantum)
        late = readings(server, 3 * PHASES + LINGERS)
        for reading in late:
            assert abs(server.off_ns(reading)) <= reading.error_us * 1000
        assert abs(server.off_ns(late[-1])) <= EXACT_NS
        assert late[-1].error_us == READING_ERROR_US


def test_lost_frames_are_a_step_of_the_dates(monkeypatch):
    """Of any number: a loudspeaker that drives loses part of a cycle when its length changes."""
    server = Server(monkeypatch)
    readings(server, 5)
    server.lose(1792)
    server.change(256)
    readings(server, 2)
    server.change(2048)
    later = readings(server, 3 * PHASES + LINGERS)
    assert abs(server.off_ns(later[-1])) <= EXACT_NS
    assert later[-1].error_us == READING_ERROR_US


def test_while_it_is_not_known_how_long_lumps_wait_the_error_says_so(monkeypatch):
    server = Server(monkeypatch)
    readings(server, 5)
    server.lose(1792)
    doubtful = readings(server, PHASES - 2)
    assert server.dating.is_eager
    assert any(abs(server.off_ns(one)) > EXACT_NS for one in doubtful)
    for one in doubtful[1:]:
        assert abs(server.off_ns(one)) <= one.error_us * 1000


def test_a_single_lump_that_is_late_leaves_no_doubt(monkeypatch):
    server = Server(monkeypatch)
    for _ in range(10):
        server.delay()
        for reading in readings(server, 3):
            assert abs(server.off_ns(reading)) <= DELAY_NS + MS
            assert reading.error_us == READING_ERROR_US


@pytest.mark.parametrize("dump", ["", "[]", "[3]", "rubbish"])
def test_a_graph_that_cannot_be_seen_leaves_the_doubt_of_a_cycle(monkeypatch, dump):
    server = Server(monkeypatch, follows=True)
    server.dump = dump
    began_ns = server.now_ns
    (reading,) = readings(server, 1)
    assert server.now_ns - began_ns >= PATIENCE_NS
    assert abs(server.off_ns(reading)) <= reading.error_us * 1000


def test_after_a_step_the_error_covers_it_until_the_recorder_has_taken_it_in(monkeypatch):
    server = Server(monkeypatch)
    readings(server, 5)
    server.lose(1792)
    readings(server, PHASES - 2)  # in doubt
    after = readings(server, LINGERS + 1)
    assert all(one.error_us * 1000 >= 1792 * S // RATE for one in after[:-1])
    assert after[-1].error_us == READING_ERROR_US


def test_a_phase_is_not_taken_from_lumps_that_leave_one_out(monkeypatch):
    """The one that waits least is never seen: the machine is away whenever it comes."""
    server = Server(monkeypatch)
    readings(server, 5)
    server.lose(1792)
    server.blind_to = (2048 - 1792,)
    for reading in readings(server, 4 * PHASES):
        assert abs(server.off_ns(reading)) <= reading.error_us * 1000


def test_a_phase_is_not_taken_from_a_few_lumps_that_agree(monkeypatch):
    """A second loss comes while the first one is being looked at, which takes no longer for it."""
    server = Server(monkeypatch)
    server.change(512)
    readings(server, 5)
    server.lose(512)
    readings(server, PHASES // 2)
    server.lose(256)
    for _ in range(PHASES + 1):
        server.read()
    assert not server.dating.is_eager
    assert abs(server.off_ns(readings(server, 1)[0])) <= EXACT_NS


def test_a_lump_that_came_while_the_machine_was_away_gives_no_reading(monkeypatch):
    server = Server(monkeypatch)
    readings(server, 2)
    server.blind_to = range(0, 2048, 256)
    assert [server.read() for _ in range(20)] == [None] * 20


def test_a_stream_of_another_rate_has_the_doubt_of_a_cycle(monkeypatch):
    (reading,) = readings(Server(monkeypatch, rate=44_100), 1)
    assert reading.error_us == READING_ERROR_US + 2048 * 1_000_000 // RATE


def test_a_lump_that_ends_anywhere_has_the_doubt_of_an_eighth_of_a_cycle(monkeypatch):
    (reading,) = readings(Server(monkeypatch, lump=5461), 1)
    assert reading.error_us == READING_ERROR_US + 256 * 1_000_000 // RATE


def test_a_change_is_looked_at_twice_and_never_more_than_once_a_second(monkeypatch):
    server = Server(monkeypatch)
    readings(server, 20)
    looks = server.looks
    server.change(2048)
    readings(server, 20)
    assert server.looks == looks + 2
    began_ns = server.now_ns
    for _ in range(100):
        server.change(2048)
        server.read()
    assert server.looks - looks - 2 <= 1 + (server.now_ns - began_ns) / S


def test_where_pw_dump_or_the_server_cannot_be_asked_there_is_a_dating_all_the_same(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/none")
    assert read_graph() is None
    assert graph_rate(16_000) == 16_000
    assert not pipewire_dating(PID, RATE).is_eager


def test_the_graph_s_rate_is_the_device_s_where_it_cannot_be_read(monkeypatch):
    monkeypatch.setattr(pipewire_dating_module, "read_graph", lambda: "rubbish")
    assert graph_rate(16_000) == 16_000
    monkeypatch.setattr(pipewire_dating_module, "read_graph", lambda: "[]")
    assert graph_rate(16_000) == RATE


def test_a_stream_is_not_dated_before_it_is_linked(monkeypatch):
    server = Server(monkeypatch, follows=True)
    server.is_linked = False
    assert [server.read() for _ in range(10)] == [None] * 10
    server.is_linked = True
    assert abs(server.off_ns(readings(server, 1)[0])) <= EXACT_NS


def test_a_graph_that_does_not_change_is_not_looked_at_again(monkeypatch):
    server = Server(monkeypatch)
    readings(server, 20)
    looks = server.looks
    readings(server, 200)
    assert server.looks == looks


def test_a_server_that_hands_out_nothing_gives_no_reading(monkeypatch):
    server = Server(monkeypatch)
    assert server.dating.read(lambda: 0) is None


@pytest.mark.parametrize("channels", range(1, 33))
@pytest.mark.parametrize("rate", [44_100, RATE, 96_000])
def test_a_lump_is_sent_at_once_and_ends_everywhere_in_a_cycle(channels, rate):
    asked_ms = lump_ms(channels, rate)
    assert LEAST_LUMP_MS <= asked_ms <= LUMP_MS
    assert asked_ms // LUMP_STEP_MS % 2 == 1
    assert asked_ms % LUMP_STEP_MS == 0
    if asked_ms > LEAST_LUMP_MS:
        assert asked_ms * rate * channels * 2 <= SENDS_BYTES * 1000
    if rate == RATE:
        ends = {nth * asked_ms * 48 % 2048 for nth in range(PHASES)}
        assert ends == {phase * 256 for phase in range(PHASES)}

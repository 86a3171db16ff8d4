"""Dates of real sound servers: what is asked, and where both tracks stand by the answers."""

import os
import signal
import subprocess

import pytest

from edgerec.capture.dating.libpulse import LibpulseError, PulseConnection
from edgerec.clock import raw_now_ns
from tests.campaigns.servers import CONDITIONS, FIRST_S, measure
from tests.rigs.sound_server import SoundServer
from tests.rigs.waiting import wait_for

APART_MS = 1.0
SECONDS = 12.0


@pytest.fixture
def server(tmp_path, monkeypatch):
    server = SoundServer(tmp_path / "sound")
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    yield server
    server.signal(signal.SIGCONT)
    server.close()


@pytest.fixture
def recorder(server):
    """A process that records the microphone, which is a remap source."""
    with subprocess.Popen(["parec", "-d", "kiosk_mic", "--raw"], stdout=subprocess.DEVNULL) as it:
        yield it
        it.kill()


def test_a_process_s_stream_is_found_and_the_sink_that_its_virtual_source_hears(server, recorder):
    connection = PulseConnection("test")
    assert connection.stream_of(os.getpid()) is None
    found = []
    wait_for(lambda: found.append(connection.stream_of(recorder.pid)) or found[-1], look_s=0.1)
    sinks = dict(line.split("\t")[:2] for line in server.pactl("list", "short", "sinks").split("\n")
                 if line)  # fmt: skip
    sink = connection.monitored_sink(found[-1].source)
    assert sinks[str(sink)] == "kiosk_mic_feed"
    told = connection.latencies(found[-1].index, sink)
    assert told is not None
    assert told.source == found[-1].source
    assert told.lump_us > 0
    connection.close()


def test_a_frozen_server_is_no_answer_and_is_asked_again_when_it_goes_on(server, recorder):
    connection = PulseConnection("test")
    found = []
    wait_for(lambda: found.append(connection.stream_of(recorder.pid)) or found[-1], look_s=0.1)
    sink = connection.monitored_sink(found[-1].source)
    server.signal(signal.SIGSTOP)
    for _ in range(3):
        assert connection.latencies(found[-1].index, sink) is None
    server.signal(signal.SIGCONT)
    wait_for(lambda: connection.latencies(found[-1].index, sink), look_s=0.1)
    connection.close()


def test_without_a_server_the_connection_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PULSE_SERVER", f"unix:{tmp_path}/none")
    with pytest.raises(LibpulseError, match="does not answer"):
        PulseConnection("test")


def test_a_stream_that_comes_or_goes_is_a_change_once(server):
    connection = PulseConnection("test")
    connection.follow()
    wait_for(lambda: not connection.take_changes(), look_s=0.1)
    with subprocess.Popen(["parec", "-d", "kiosk_mic", "--raw"], stdout=subprocess.DEVNULL) as it:
        wait_for(connection.take_changes, look_s=0.1)
        wait_for(lambda: not connection.take_changes(), look_s=0.1)
        it.kill()
        it.wait()
        wait_for(connection.take_changes, look_s=0.1)
    server.close()
    wait_for(connection.take_changes, look_s=0.1)
    connection.close()


@pytest.mark.parametrize("condition", ["same", "pipewire same", "pipewire 100"])
def test_one_sound_that_is_heard_twice_comes_out_together(condition, tmp_path, machine):
    """Over 12 s of real time: one start, as `scripts/campaign servers` makes many.

    One sink by its monitor and through a remap source; or one player that is linked to two sinks.
    """
    began_ns = raw_now_ns()
    start = measure(tmp_path, CONDITIONS[condition], SECONDS, "gate")
    for what, first_s, last_s in (("first second", 0.0, FIRST_S), ("rest", FIRST_S, 60.0)):
        apart_ms = start.most_ms(first_s, last_s)
        machine.note(
            f"{condition}: apart, {what}", apart_ms, "ms", limit=APART_MS, since_ns=began_ns
        )
    if start.uncovered():
        machine.explain("an error that was not stated", began_ns, raw_now_ns(), stall_s=0.5)

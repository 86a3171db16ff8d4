"""What the watch makes of what a sound server says; the server is a script of the test's."""

import os

import pytest

from edgerec.capture.devices import device_events
from edgerec.capture.devices.device_verdict import MISSING_NS, Findings, OpenDevice
from edgerec.capture.devices.server_answers import RecordingStream, ServerState
from edgerec.capture.devices.sound_server import SoundServerError
from edgerec.capture.devices.watch import (
    PIN_SETTLES_NS,
    PIN_WITHIN_NS,
    DeviceWatch,
)
from tests.rigs.fakes import START_NS, FakeClock
from tests.rigs.waiting import wait_for

OPENED = OpenDevice(7, "pulse:mic", START_NS - PIN_WITHIN_NS - 1)
SOURCES = frozenset({"mic", "speaker.monitor"})


class Server:
    """Who records what, as the test has it."""

    def __init__(self, **recorded):
        self.recorded = {int(pid[1:]): source for pid, source in recorded.items()}
        self.pinned = []
        self.pins = True
        self.index = 1
        self.asked = 0

    def read_state(self, pids=()):
        self.asked += 1
        streams = {
            pid: RecordingStream(pid, source, self.index) for pid, source in self.recorded.items()
        }
        return ServerState(streams, SOURCES)

    def pin(self, stream, sources):
        self.pinned.append((stream.index, sources))
        return self.pins


def watch(server, wanted="pulse:mic", opened=OPENED):
    findings = Findings()
    findings.opened = opened
    watching = DeviceWatch(
        {"user": (wanted, findings)},
        FakeClock(),
        read_state=server.read_state,
        pin_stream=server.pin,
    )
    return watching, findings


def test_a_stream_on_its_own_source_is_vouched_for():
    watching, findings = watch(Server(p7="mic"))
    watching.suspect()
    assert findings.suspected_since(START_NS) == START_NS
    watching.check()
    assert findings.vouched(7)
    assert not findings.vouched(8)
    assert findings.suspected_since(START_NS) is None
    assert findings.accusation(7) is None


def test_a_stream_on_another_source_is_accused_by_name_and_stays_suspected():
    watching, findings = watch(Server(p7="speaker.monitor"))
    watching.suspect()
    watching.check()
    told = "the sound server records speaker.monitor in place of mic"
    assert findings.accusation(7) == (told, START_NS)
    assert findings.accusation(8) is None
    assert findings.suspected_since(START_NS) == START_NS
    assert not findings.vouched(7)


def test_a_source_that_was_away_for_a_moment_is_another_one():
    server = Server(p7="mic")
    watching, findings = watch(server)
    watching.check()
    server.index += 1
    watching.suspect()
    watching.check()
    told = "the sound server took mic away and put it back"
    assert findings.accusation(7) == (told, START_NS)
    assert findings.suspected_since(START_NS) == START_NS
    findings.opened = OpenDevice(8, "pulse:mic", START_NS)  # the next child knows only this one
    server.recorded = {8: "mic"}
    watching.check()
    assert findings.accusation(8) is None
    assert findings.vouched(8)


def test_a_device_without_a_name_of_its_own_is_to_stay_on_its_first_source():
    server = Server(p7="mic")
    watching, findings = watch(server, wanted=None, opened=OpenDevice(7, "default", START_NS, ""))
    watching.check()
    assert findings.vouched(7)
    server.recorded[7] = "other"
    watching.check()
    assert findings.accusation(7)
    # The next child begins where it is put.
    findings.opened = OpenDevice(8, "default", START_NS, "")
    server.recorded = {8: "other"}
    watching.check()
    assert findings.vouched(8)


def test_a_stream_is_judged_when_its_header_says_what_it_has_asked_for():
    server = Server(p7="mic")
    watching, findings = watch(server, wanted="kiosk", opened=OpenDevice(7, None, START_NS))
    watching.suspect()
    watching.check()
    assert not findings.vouched(7)
    assert findings.suspected_since(START_NS) is None
    findings.opened = OpenDevice(7, "kiosk_mic", START_NS, "mic")
    watching.check()
    assert findings.vouched(7)
    findings.opened = OpenDevice(8, "kiosk_mic", START_NS, "mic")
    server.recorded = {8: "other"}
    watching.check()
    told = "the sound server records other in place of mic"
    assert findings.accusation(8) == (told, 0)


def test_a_source_that_is_named_by_its_port_is_known_when_the_child_has_found_it():
    port = "pulse:mic@usb-0000:01:00.0-1.3"
    server = Server(p7="mic.2")
    watching, findings = watch(server, wanted=port, opened=OpenDevice(7, None, START_NS))
    watching.check()
    assert findings.accusation(7) is None
    assert not findings.vouched(7)
    findings.opened = OpenDevice(7, port, START_NS, "mic.2")
    watching.check()
    assert findings.vouched(7)
    server.recorded[7] = "mic"  # its twin, whichever is called so
    watching.check()
    assert findings.accusation(7) == ("the sound server records mic in place of mic.2", 0)
    # The next child finds it on its port, under the name that its twin had.
    findings.opened = OpenDevice(8, port, START_NS, "mic")
    server.recorded = {8: "mic"}
    watching.check()
    assert findings.vouched(8)


DEFAULT = OpenDevice(7, "default", START_NS, "")


def test_a_default_that_leads_to_a_monitor_is_refused_for_the_user():
    watching, findings = watch(Server(p7="speaker.monitor"), wanted=None, opened=DEFAULT)
    watching.check()
    told, _ = findings.accusation(7)
    assert told.startswith("the sound server's default source is speaker.monitor, the monitor")
    assert not findings.vouched(7)


def test_a_monitor_that_the_configuration_names_is_the_user_s():
    opened = OpenDevice(7, "kiosk_loopback", START_NS, "speaker.monitor")
    watching, findings = watch(Server(p7="speaker.monitor"), wanted="kiosk_loop", opened=opened)
    watching.check()
    assert findings.vouched(7)


def test_the_bot_s_default_may_be_a_monitor():
    server, findings = Server(p7="speaker.monitor"), Findings()
    findings.opened = DEFAULT
    watching = DeviceWatch(
        {"bot": (None, findings)},
        FakeClock(),
        read_state=server.read_state,
        pin_stream=server.pin,
    )
    watching.check()
    assert findings.vouched(7)


def test_a_stream_whose_source_has_gone_is_accused_and_one_without_any_yet_waited_for():
    server = Server(p7=None)
    watching, findings = watch(server, wanted=None, opened=DEFAULT)
    watching.check()
    assert not findings.vouched(7)
    assert findings.accusation(7) is None
    assert server.pinned == []
    server.recorded[7] = "mic"
    watching.check()
    assert findings.vouched(7)
    server.recorded[7] = None
    watching.check()
    assert findings.accusation(7) == ("the sound server took mic away", 0)


def test_the_server_is_asked_for_the_children_that_run():
    server = Server()
    asked = []
    server.read_state = asked.append
    watching, findings = watch(server)
    watching.check()
    findings.opened = None
    watching.check()
    assert asked == [[7], []]


def test_what_the_server_does_not_know_is_not_waited_for_once_it_delivers():
    watching, findings = watch(Server(), opened=OpenDevice(7, None, START_NS))
    watching.suspect()
    watching.check()
    assert findings.suspected_since(START_NS) is None
    assert not findings.is_unknown(7)
    findings.opened = OpenDevice(7, "pulse:mic", START_NS, "mic")
    watching.suspect()
    watching.check()
    assert findings.suspected_since(START_NS) is None
    assert findings.is_unknown(7)


@pytest.mark.parametrize("answers", [True, False])
def test_a_stream_that_is_not_found_for_a_while_is_told_of_once(answers, caplog):
    server, clock = Server(), FakeClock()
    findings = Findings()
    findings.opened = DEFAULT
    watching = DeviceWatch(
        {"user": (None, findings)},
        clock,
        read_state=server.read_state if answers else lambda pids: None,
        pin_stream=server.pin,
    )
    watching.check()
    clock.raw_ns += MISSING_NS - 1
    watching.check()
    assert caplog.messages == []
    clock.raw_ns += 1
    watching.check()
    watching.check()
    (told,) = caplog.messages
    assert told.startswith("a swapped source would go unnoticed track=user device='default' why=")
    assert ("who records what is unknown" in told) is not answers


@pytest.mark.parametrize("answer", [None, SoundServerError("unreadable")])
def test_a_server_that_gives_no_answer_holds_nobody_up(answer):
    server = Server()

    def read_state(pids):
        if answer is not None:
            raise answer

    server.read_state = read_state
    watching, findings = watch(server)
    watching.suspect()
    watching.check()
    assert findings.suspected_since(START_NS) is None
    assert findings.accusation(7) is None


def test_a_stream_that_begins_is_pinned_once_and_counts_when_that_has_settled():
    server = Server(p7="mic")
    watching, findings = watch(server, opened=OpenDevice(7, None, START_NS))
    watching.check()
    watching.check()
    assert server.pinned == [(7, SOURCES)]
    assert findings.began_ns(7) == START_NS + PIN_SETTLES_NS
    assert findings.began_ns(8) == 0


def test_a_stream_that_could_not_be_pinned_is_tried_again():
    server = Server(p7="mic")
    server.pins = False  # there is no other source to move it to
    watching, findings = watch(server, opened=OpenDevice(7, None, START_NS))
    watching.check()
    assert findings.began_ns(7) == 0
    server.pins = True
    watching.check()
    assert findings.began_ns(7) == START_NS + PIN_SETTLES_NS


def test_a_stream_that_delivers_is_moved_only_if_it_has_just_begun():
    server = Server(p7="mic")
    watching, _ = watch(server, opened=OpenDevice(7, "pulse:mic", START_NS - PIN_WITHIN_NS))
    watching.check()
    assert len(server.pinned) == 1
    server = Server(p7="mic")
    watching, findings = watch(server)
    watching.check()
    assert server.pinned == []
    assert findings.vouched(7)


@pytest.fixture
def events(tmp_path, monkeypatch):
    """A FIFO in the place of `pactl subscribe`."""
    fifo = tmp_path / "events"
    os.mkfifo(fifo)
    monkeypatch.setattr(device_events, "SUBSCRIBE", ("cat", str(fifo)))
    return fifo


def test_events_are_followed_and_a_server_that_returns_is_found_again(events):
    server = Server(p7="mic")
    watching, findings = watch(server)
    watching.start()
    try:
        with events.open("w") as pipe:
            wait_for(lambda: findings.vouched(7))
            added = Findings()
            watching.watch({"user": ("pulse:mic", findings), "bot": ("pulse:mic2", added)})
            assert findings.followed and added.followed
            server.recorded[7] = "speaker.monitor"
            pipe.write("Event 'change' on source-output #2\n")
            pipe.flush()
            wait_for(lambda: findings.accusation(7))
            pipe.write("Event 'new' on source #5\n")
            pipe.flush()
            wait_for(findings.take_appearance)
        wait_for(lambda: not findings.followed)
        server.recorded = {9: "mic"}
        # The clock stands still, so only a new stream has the server tried again.
        findings.opened = OpenDevice(9, "pulse:mic", START_NS)
        with events.open("w"):
            wait_for(lambda: findings.vouched(9))
    finally:
        watching.close()


def test_a_server_whose_tool_is_not_there_is_not_asked_for_again(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(device_events, "SUBSCRIBE", ("no-such-tool",))
    watching, findings = watch(Server())
    watching.start()
    wait_for(lambda: caplog.messages)
    findings.opened = OpenDevice(9, "pulse:mic", START_NS)
    watching.watch({"bot": ("pulse:mic", findings)})
    watching.close()
    assert len(caplog.messages) == 1


def test_a_kiosk_of_alsa_cards_alone_starts_nothing(monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(device_events, "SUBSCRIBE", ("no-such-tool",))
    server = Server()
    watching, findings = watch(server, wanted="alsa:Mic,0", opened=None)
    watching.start()
    findings.opened = OpenDevice(9, "alsa:Mic,0", START_NS)
    wait_for(lambda: watching._seen == {"user": findings.opened})
    watching.close()
    assert caplog.messages == []
    assert server.asked == 0

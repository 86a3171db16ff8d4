import threading

import pytest

from edgerec.session.requests import MAX_WAITING, SessionRequests
from edgerec.wire.messages import RefusedError
from tests.rigs.fakes import START_NS, FakeClock, S
from tests.rigs.waiting import PATIENCE_S


@pytest.fixture
def requests():
    return SessionRequests(FakeClock(), started=False)


def waiting(requests):
    verbs = []
    while request := requests.next():
        verbs.append(request.verb)
        requests.fulfilled()
    return verbs


def test_what_was_asked_is_done_in_order_as_of_then():
    clock = FakeClock()
    requests = SessionRequests(clock, started=True)
    clock.raw_ns += S
    requests.ask("pause")
    assert (requests.next().verb, requests.next().at_ns) == ("start", START_NS)
    requests.fulfilled()
    assert (requests.next().verb, requests.next().at_ns) == ("pause", START_NS + S)


def test_asking_for_what_is_so_already_changes_nothing(requests):
    assert not requests.ask("stop")
    assert requests.ask("start")
    assert not requests.ask("start")
    assert not requests.ask("resume")
    assert requests.ask("pause")
    assert not requests.ask("pause")
    assert not requests.ask("start")  # it stays paused
    assert requests.ask("resume")
    assert waiting(requests) == ["start", "pause", "resume"]
    assert requests.ask("stop")
    assert not requests.ask("stop")


@pytest.mark.parametrize("verb", ["pause", "resume", "rotate"])
def test_nothing_is_paused_or_cut_where_nothing_is_recorded(requests, verb):
    with pytest.raises(RefusedError, match="nothing is being recorded") as refused:
        requests.ask(verb)
    assert refused.value.code == "not_recording"
    assert requests.wanted == "idle"


def test_a_stop_takes_back_a_start_that_is_not_done_yet(requests):
    requests.ask("start")
    requests.fulfilled()
    requests.ask("stop")
    requests.ask("start")
    requests.ask("pause")
    assert requests.ask("stop")
    assert waiting(requests) == ["stop"]


def test_no_more_than_so_much_waits(requests):
    requests.ask("start")
    for _ in range(MAX_WAITING - 1):
        requests.ask("rotate")
    with pytest.raises(RefusedError) as refused:
        requests.ask("pause")
    assert refused.value.code == "busy"
    assert requests.wanted == "recording"
    waiting(requests)
    assert requests.ask("pause")


def test_a_request_is_dated_when_no_audio_is_being_placed():
    clock = FakeClock()
    requests = SessionRequests(clock, started=True)
    asking = threading.Thread(target=requests.ask, args=("pause",), daemon=True)
    with requests.lock:  # as the recorder thread does, while it places audio
        asking.start()
        clock.raw_ns += S
        assert requests.next().verb == "start"
        requests.fulfilled()
        assert requests.next() is None
    asking.join(PATIENCE_S)
    assert requests.next().at_ns == START_NS + S


def test_a_signal_may_come_while_its_own_thread_asks(requests):
    with requests.lock:
        assert requests.ask("start")


def test_nothing_is_asked_any_more_of_a_recorder_that_has_ended(requests):
    requests.ask("start")
    requests.close()
    for ask in (lambda: requests.ask("start"), lambda: requests.ask("stop"), requests.check_open):
        with pytest.raises(RefusedError, match="has ended") as refused:
            ask()
        assert refused.value.code == "stopped"

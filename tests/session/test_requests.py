import threading

import pytest

from edgerec.session.requests import MAX_WAITING, Wishes
from edgerec.wire.messages import RefusedError
from tests.rigs.fakes import START_NS, FakeClock, S
from tests.rigs.waiting import PATIENCE_S


@pytest.fixture
def wishes():
    return Wishes(FakeClock(), started=False)


def waiting(wishes):
    verbs = []
    while wish := wishes.next():
        verbs.append(wish.verb)
        wishes.fulfilled()
    return verbs


def test_what_was_asked_is_done_in_order_as_of_then():
    clock = FakeClock()
    wishes = Wishes(clock, started=True)
    clock.raw_ns += S
    wishes.ask("pause")
    assert (wishes.next().verb, wishes.next().at_ns) == ("start", START_NS)
    wishes.fulfilled()
    assert (wishes.next().verb, wishes.next().at_ns) == ("pause", START_NS + S)


def test_asking_for_what_is_so_already_changes_nothing(wishes):
    assert not wishes.ask("stop")
    assert wishes.ask("start")
    assert not wishes.ask("start")
    assert not wishes.ask("resume")
    assert wishes.ask("pause")
    assert not wishes.ask("pause")
    assert not wishes.ask("start")  # it stays paused
    assert wishes.ask("resume")
    assert waiting(wishes) == ["start", "pause", "resume"]
    assert wishes.ask("stop")
    assert not wishes.ask("stop")


@pytest.mark.parametrize("verb", ["pause", "resume", "rotate"])
def test_nothing_is_paused_or_cut_where_nothing_is_recorded(wishes, verb):
    with pytest.raises(RefusedError, match="nothing is being recorded") as refused:
        wishes.ask(verb)
    assert refused.value.code == "not_recording"
    assert wishes.wanted == "idle"


def test_a_stop_takes_back_a_start_that_is_not_done_yet(wishes):
    wishes.ask("start")
    wishes.fulfilled()
    wishes.ask("stop")
    wishes.ask("start")
    wishes.ask("pause")
    assert wishes.ask("stop")
    assert waiting(wishes) == ["stop"]


def test_no_more_than_so_much_waits(wishes):
    wishes.ask("start")
    for _ in range(MAX_WAITING - 1):
        wishes.ask("rotate")
    with pytest.raises(RefusedError) as refused:
        wishes.ask("pause")
    assert refused.value.code == "busy"
    assert wishes.wanted == "recording"
    waiting(wishes)
    assert wishes.ask("pause")


def test_a_wish_is_dated_when_no_audio_is_being_placed():
    clock = FakeClock()
    wishes = Wishes(clock, started=True)
    asking = threading.Thread(target=wishes.ask, args=("pause",), daemon=True)
    with wishes.lock:  # as the recorder thread does, while it places audio
        asking.start()
        clock.raw_ns += S
        assert wishes.next().verb == "start"
        wishes.fulfilled()
        assert wishes.next() is None
    asking.join(PATIENCE_S)
    assert wishes.next().at_ns == START_NS + S


def test_a_signal_may_come_while_its_own_thread_asks(wishes):
    with wishes.lock:
        assert wishes.ask("start")


def test_nothing_is_asked_any_more_of_a_recorder_that_has_ended(wishes):
    wishes.ask("start")
    wishes.close()
    for ask in (lambda: wishes.ask("start"), lambda: wishes.ask("stop"), wishes.check_open):
        with pytest.raises(RefusedError, match="has ended") as refused:
            ask()
        assert refused.value.code == "stopped"

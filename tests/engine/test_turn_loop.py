import logging
import threading

import numpy as np
import pytest

from edgerec.audio import TurnPart
from edgerec.engine.session_turns import MAX_AHEAD_NS, SessionTurns
from edgerec.engine.turn_loop import TurnLoop
from edgerec.session.timeline import SessionTimeline
from edgerec.session.turn_board import MAX_PARTS, TurnBoard
from edgerec.sync.history import History
from edgerec.sync.synchronizer import history_frames
from edgerec.turns.marks import MAX_PENDING
from edgerec.turns.tracker import TurnTracker
from edgerec.wire.messages import RefusedError
from tests.rigs.fakes import FakeClock
from tests.rigs.turn_rig import LETTER, RATE, RULES, LoudActivity, S, conversation, stamp_of


class Rig:
    """A turn loop, and sessions that the test fills."""

    def __init__(self, activity=LoudActivity, keep_s=30.0, on_ended=lambda: None):
        self.clock = FakeClock()
        self.keep_s = keep_s
        self.loop = TurnLoop(
            self.clock,
            lambda timeline: SessionTurns(timeline, activity, TurnTracker(RULES, yields=RATE)),
            on_ended,
        )

    def begin(self):
        timeline = SessionTimeline(RATE, History(history_frames(RATE, self.keep_s)), stamp_of, {})
        self.loop.begun(timeline)
        return timeline


def commit(timeline, pcm):
    for track in range(2):
        timeline.history.append(track, pcm[track])
    timeline.history.commit(timeline.history.end(0))


def known(timeline, speaker="user"):
    return [
        (part.start // LETTER, part.stop // LETTER, part.ended)
        for part in timeline.turns.pending(speaker)
    ]


def test_turns_are_known_while_they_go_on_and_complete_when_the_session_is():
    rig = Rig()
    timeline = rig.begin()
    pcm = conversation("...SSSS....SSS", "." * 14)
    commit(timeline, pcm[:, : 7 * LETTER])
    rig.loop.step()
    assert known(timeline) == [(1, 6, None)]
    assert not timeline.turns.wait_complete(0)
    commit(timeline, pcm[:, 7 * LETTER :])
    timeline.stop = timeline.history.committed
    rig.loop.step()
    assert known(timeline) == [(1, 10, "turn"), (10, 14, "stop")]
    assert timeline.turns.wait_complete(0)


def test_a_session_is_judged_to_its_end_though_the_next_has_begun():
    rig = Rig()
    first = rig.begin()
    commit(first, conversation("..SSSS", "......"))
    first.stop = first.history.committed
    second = rig.begin()
    commit(second, conversation(".SSSSS", "......"))
    rig.loop.over()
    rig.loop.run()
    assert known(first) == [(0, 6, "stop")]
    assert known(second) == [(0, 5, None)]


def test_what_is_no_longer_in_memory_is_no_speech_and_said_to_be_lost(caplog):
    rig = Rig(keep_s=1.0)
    timeline = rig.begin()
    commit(timeline, conversation("..SSS" + "S" * 15, "." * 20))
    rig.loop.step()
    for _ in range(3):
        commit(timeline, conversation("S" * 100, "." * 100))
    with caplog.at_level(logging.WARNING):
        rig.loop.step()
    assert "turn detection is too slow" in caplog.text
    assert known(timeline)[0] == (0, 23, "turn")
    timeline.stop = timeline.history.committed
    rig.loop.step()
    assert known(timeline)[-1][1:] == (320, "stop")


class Broken(LoudActivity):
    def push(self, span):
        if span.start >= 10 * LETTER:
            raise RuntimeError("the model is broken")
        return super().push(span)


def test_a_detector_that_fails_costs_the_rest_of_the_turns_and_nothing_else(caplog):
    rig = Rig(activity=Broken)
    timeline = rig.begin()
    commit(timeline, conversation("..SSSSSSSS", "." * 10))
    rig.loop.step()
    commit(timeline, conversation("SSSSSSSSSS", "." * 10))
    rig.loop.step()
    rig.loop.step()
    assert "no longer found" in caplog.text
    assert known(timeline) == [(0, 9, "stop")]
    assert timeline.turns.wait_complete(0)
    assert rig.loop.trouble == "RuntimeError: the model is broken"
    rig.begin()
    assert rig.loop.trouble is None


def at_ns(letter):
    return stamp_of(letter * LETTER).monotonic_ns


def test_marks_are_placed_on_the_timeline_by_the_monotonic_clock():
    rig = Rig()
    rig.clock.read = lambda: type("Now", (), {"monotonic_ns": at_ns(12)})
    timeline = rig.begin()
    commit(timeline, conversation("." * 20, "." * 20))
    rig.loop.step()
    assert rig.loop.mark("user", at_ns(5), speaking=True) == 5 * LETTER
    assert rig.loop.mark("user", at_ns(8), speaking=False) == 8 * LETTER
    assert rig.loop.mark("bot", 0, speaking=True) == 12 * LETTER  # now
    assert rig.loop.mark("bot", 1, speaking=True) == 0  # long before the session
    rig.loop.step()
    assert known(timeline) == [(3, 19, "turn")]
    (part,) = timeline.turns.pending("user")
    assert (part.speech_start, part.speech_end, part.by) == (5 * LETTER, 8 * LETTER, "mark")


def test_marks_that_can_not_be_taken_are_refused():
    rig = Rig()
    with pytest.raises(RefusedError, match="nothing is being recorded"):
        rig.loop.mark("user", 0, speaking=True)
    rig.begin()
    now_ns = rig.clock.read().monotonic_ns
    with pytest.raises(RefusedError, match="in the future"):
        rig.loop.mark("user", now_ns + MAX_AHEAD_NS + S, speaking=True)
    for _ in range(MAX_PENDING):
        rig.loop.mark("user", 0, speaking=True)
    with pytest.raises(RefusedError, match="are waiting to be processed") as refused:
        rig.loop.mark("user", 0, speaking=True)
    assert refused.value.code == "busy"


def test_too_many_marks_of_the_future_are_told_in_the_log(caplog):
    rig = Rig()
    timeline = rig.begin()
    for _ in range(2):
        for index in range(MAX_PENDING):
            rig.loop.mark("user", at_ns(1 + index), speaking=True)
        rig.loop.step()
    assert "turn mark is ignored" in caplog.text
    commit(timeline, np.zeros((2, LETTER), np.int16))
    rig.loop.step()


def part(number, stop=100, ended=None):
    return TurnPart("user", number, 0, 0, stop, 0, stop, "vad", ended)


def test_only_the_latest_word_of_a_part_is_kept():
    board = TurnBoard()
    board.post([part(1, 10), part(2, 20), part(1, 30, "turn")])
    assert board.pending("user") == [part(1, 30, "turn"), part(2, 20)]
    board.remove(part(1, 30, "turn"))
    assert board.pending("user") == [part(2, 20)]
    assert board.pending("bot") == []


def test_no_more_parts_wait_than_the_history_could_hold():
    board = TurnBoard()
    board.post(part(number) for number in range(MAX_PARTS + 5))
    numbers = [one.number for one in board.pending("user")]
    assert numbers == [0, *range(6, MAX_PARTS + 5)]  # the first may be being written
    assert board.dropped == 5


def test_the_writer_waits_for_the_end_of_the_turns():
    board = TurnBoard()
    threading.Timer(0.05, board.complete).start()
    assert board.wait_complete(20)


def test_what_was_waited_for_in_vain_is_not_waited_for_again(monkeypatch):
    board = TurnBoard()
    waited = []

    def wait(timeout):
        waited.append(timeout)
        return False

    monkeypatch.setattr(board._complete, "wait", wait)
    assert not board.wait_complete(10)
    assert not board.wait_complete(10)  # the turns, behind the chunk; or once the disk works again
    assert waited == [10, 0]
    monkeypatch.undo()
    board.complete()
    assert board.wait_complete(10)


def test_audio_worth_a_step_wakes_the_thread_and_less_does_not():
    rig = Rig()
    timeline = rig.begin()
    pcm = conversation("...", "...")
    commit(timeline, pcm[:, :LETTER])
    rig.loop.committed(timeline)
    assert not rig.loop._awake.is_set()
    commit(timeline, pcm[:, LETTER : 2 * LETTER])
    rig.loop.committed(timeline)
    assert rig.loop._awake.is_set()
    rig.loop._awake.clear()
    rig.loop.committed(timeline)  # nothing more has come
    assert not rig.loop._awake.is_set()


def test_the_writer_is_notified_when_a_turn_ends_and_not_while_it_grows():
    ended = []
    rig = Rig(on_ended=lambda: ended.append(rig.loop))
    timeline = rig.begin()
    pcm = conversation("...SSSS.......", "." * 14)
    commit(timeline, pcm[:, : 7 * LETTER])
    rig.loop.step()
    assert not ended
    commit(timeline, pcm[:, 7 * LETTER :])
    rig.loop.step()
    assert len(ended) == 1
    rig.loop.step()
    assert len(ended) == 1

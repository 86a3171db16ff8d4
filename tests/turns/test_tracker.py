import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.turns.marks import MAX_PENDING, TooManyMarksError
from edgerec.turns.segmenter import Judged, TurnRules
from edgerec.turns.tracker import TurnTracker
from tests.rigs.turn_drawing import STEP, judgements, latest, picture

RULES = TurnRules(pre_roll=2 * STEP, hangover=3 * STEP, min_speech=2 * STEP, max_turn=10 * STEP)


def track(user, bot, marks=(), rules=RULES):
    """Judge both tracks letter by letter; each mark (when told, track, speaking, at) in its place.

    Times are letters.
    """
    tracker = TurnTracker(rules, yields=4 * STEP)
    updates = []
    told = sorted(marks, key=lambda mark: mark[0])
    for index, pair in enumerate(
        zip(judgements(user), judgements(bot, track="bot"), strict=True), start=1
    ):
        updates += tracker.push(pair)
        for _, name, speaking, at in [mark for mark in told if mark[0] == index]:
            updates += tracker.mark(name, at * STEP, 0, speaking=speaking)
    return latest(updates + tracker.finish())


def of(speaker, parts):
    return [part for part in parts if part.speaker == speaker]


def marked(marks, length=20, heard=None, rules=RULES):
    """Draw the user's turns with these marks: (told, speaking, at)."""
    parts = track(
        heard or "." * length,
        "." * length,
        [(when, "user", speaking, at) for when, speaking, at in marks],
        rules,
    )
    assert all(part.ended for part in parts)
    return picture(parts, length)


def test_turns_of_both_are_numbered_as_they_are_noticed():
    parts = track(
        "...SSS...........SSS....",
        "....SSSS...SSS..........",
    )
    numbers = [(part.speaker, part.number) for part in parts]
    assert numbers == [("user", 1), ("bot", 2), ("bot", 3), ("user", 4)]
    assert {part.by for part in parts} == {"vad"}


@pytest.mark.parametrize(
    ("user", "bot", "exchanges"),
    [
        ("..SS......SS......", "......SS......SS..", [1, 1, 2, 2]),
        ("......SS......SS..", "..SS......SS......", [1, 2, 2, 3]),  # the bot speaks first
        ("..SS....SS........", "............SS....", [1, 1, 1]),  # the user speaks twice
        ("..SS..............", ".......SS....SS...", [1, 1, 1]),  # the bot answers twice
        ("..SS......SSS.....", "......SSSSSS......", [1, 1, 2]),  # the user interrupts
    ],
)
def test_an_exchange_begins_when_the_user_speaks_after_the_bot(user, bot, exchanges):
    rules = replace(RULES, pre_roll=0, hangover=2 * STEP)
    parts = sorted(track(user, bot, rules=rules), key=lambda part: part.number)
    assert [part.exchange for part in parts] == exchanges


def test_every_part_of_a_turn_is_of_the_same_exchange():
    user = "...SSS...........SSSSSSSSSSSSSS......"
    bot = ".........SSS............SSS.........."
    parts = track(user, bot)
    numbers = {(part.number, part.exchange) for part in parts}
    assert numbers == {(1, 1), (2, 1), (3, 2), (4, 2)}
    assert len(parts) > len(numbers)


@pytest.mark.parametrize(
    ("user", "bot", "interrupted"),
    [
        ("......SSSS......", "..SSSSSS........", True),
        ("......SSSS......", "..SSSSSSSSSSS...", False),  # the bot goes on for more than 400 frames
        (".SSSSSSS........", "..SSSSSS........", False),  # the user was first
        ("........SSSS....", "..SSSSSS........", False),  # the bot had ended
        (".......S........", "..SSSSSS........", False),  # it never became a turn
        (".......S.S......", "..SSSSSS........", True),  # it became one when the bot was silent
    ],
)
def test_a_bot_that_falls_silent_when_the_user_begins_is_interrupted(user, bot, interrupted):
    parts = track(user, bot, rules=replace(RULES, max_turn=99 * STEP))
    (turn,) = of("bot", parts)
    assert turn.interrupted is interrupted
    assert turn.ended == "turn"
    assert not any(part.interrupted for part in of("user", parts))


def test_a_bot_turn_waits_for_what_may_become_an_interruption():
    rules = TurnRules(pre_roll=0, hangover=2 * STEP, min_speech=4 * STEP, max_turn=99 * STEP)
    user = ".....S.SSS......"
    bot = "SSSSSSS.........."[:16]
    tracker = TurnTracker(rules, yields=4 * STEP)
    ended = {}
    for index, pair in enumerate(
        zip(judgements(user), judgements(bot, track="bot"), strict=True), start=1
    ):
        for part in tracker.push(pair):
            if part.ended and part.speaker == "bot":
                ended[index] = part
    ((when, turn),) = ended.items()
    assert when == 10  # the hangover was over with the ninth
    assert turn.interrupted
    assert turn.stop == 9 * STEP


def test_only_the_last_part_of_an_interrupted_turn_says_so():
    parts = of("bot", track("...............SSSS......", "..SSSSSSSSSSSSSS.........", rules=RULES))
    assert [(part.ended, part.interrupted) for part in parts] == [("full", False), ("turn", True)]


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        ([(1, True, 5), (2, False, 9)], "   --SSSS---        "),  # told ahead
        ([(6, True, 5), (10, False, 9)], "   --SSSS---        "),
        ([(12, True, 5), (12, False, 9)], "   --SSSS---        "),  # told late, in one go
        ([(10, True, 5), (12, False, 8)], "   --SSS----        "),  # what is written stays
        ([(12, True, 5), (12, False, 9), (12, True, 13), (16, False, 15)], "   --SSSS----SS---  "),
        ([(6, True, 5), (9, True, 5), (10, False, 9)], "   --SSSS---        "),  # told twice
        ([(6, False, 5), (8, False, 7)], "                    "),  # a stop without a start
        ([(6, True, 5), (10, False, 9), (11, False, 10)], "   --SSSS---        "),
        ([(6, True, 5), (10, False, 4)], "   --SSSSSSSS       "),  # full: its stop was lost
        ([(6, True, 5), (10, True, 9), (12, False, 11)], "   --SSSS-S---      "),
        ([(6, True, 5), (10, False, 9), (11, True, 10), (13, False, 12)], "   --SSSS--S---     "),
        ([(6, True, 0), (6, False, 2)], "SS----              "),
    ],
)
def test_marks_make_turns(marks, expected):
    assert marked(marks) == expected


def test_a_second_start_ends_the_turn_and_begins_another():
    parts = track("." * 20, "." * 20, [(6, "user", True, 5), (10, "user", True, 9)])
    assert [(part.start, part.speech_start, part.speech_end, part.stop) for part in parts] == [
        (300, 500, 900, 1000),
        (1000, 1000, 2000, 2000),
    ]
    assert [part.by for part in parts] == ["mark", "mark"]


def test_a_marked_turn_goes_on_in_further_parts_while_somebody_is_heard():
    heard = ".....SSSSSSSSSSSSSSSSSSSSSSS......"
    drawn = marked([(6, True, 5)], length=34, heard=heard)
    assert drawn == "   --SSSSSSSS|SSSSSSSSS|SSSSSSSSS "


def test_the_first_mark_ends_a_detected_turn_and_nothing_is_detected_after_it():
    heard = "...SSSSSSSSSSSS......SSSS....."
    parts = track(heard, "." * 30, [(8, "user", True, 8), (12, "user", False, 12)])
    assert [(part.by, part.start, part.stop, part.ended) for part in parts] == [
        ("vad", 100, 800, "turn"),
        ("mark", 800, 1500, "turn"),
    ]


def test_marks_of_one_speaker_leave_the_other_to_the_detector():
    parts = track("." * 16, "...SSSS.........", [(2, "user", True, 3), (2, "user", False, 5)])
    assert [(part.speaker, part.by) for part in parts] == [("user", "mark"), ("bot", "vad")]


def test_no_more_than_a_few_marks_of_the_future_are_remembered():
    tracker = TurnTracker(RULES, yields=STEP)
    for index in range(MAX_PENDING):
        assert tracker.mark("user", 1000 + index, 0, speaking=True) == []
    with pytest.raises(TooManyMarksError, match="already wait for future frames"):
        tracker.mark("user", 99, 0, speaking=False)


def test_a_mark_of_audio_that_is_gone_begins_with_the_oldest_there_is():
    tracker = TurnTracker(RULES, yields=STEP)
    tracker.push([Judged("user", 0, 2000, False)])
    (part,) = tracker.mark("user", 500, 1800, speaking=True)
    assert (part.start, part.speech_start, part.stop) == (1800, 1800, 2000)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("judge"), st.integers(1, 40), st.booleans()),
        st.tuples(st.just("mark"), st.integers(-90, 60), st.booleans()),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(
    steps=steps,
    rules=st.builds(
        TurnRules,
        pre_roll=st.integers(0, 20),
        hangover=st.integers(1, 20),
        min_speech=st.integers(1, 10),
        max_turn=st.integers(41, 80),
    ),
)
def test_no_marks_wedge_the_turns_or_let_them_overlap(steps, rules):
    tracker = TurnTracker(rules, yields=20)
    position, updates, oldest = 0, [], 0
    for what, number, flag in steps:
        if what == "judge":
            stop = position + number
            updates += tracker.push(Judged(t, position, stop, flag) for t in ("user", "bot"))
            position, oldest = stop, max(0, stop - 100)
        else:
            updates += tracker.mark("user", max(0, position + number), oldest, speaking=flag)
    # However wrong the marks were, a turn that is marked right comes out.
    updates += tracker.push(Judged(t, position, position + 200, False) for t in ("user", "bot"))
    updates += tracker.mark("user", position + 185, position, speaking=True)
    updates += tracker.mark("user", position + 195, position, speaking=False)
    position += 200
    parts = latest(updates + tracker.finish())
    assert all(part.ended for part in parts)
    for own in (of("user", parts), of("bot", parts)):
        for part in own:
            assert 0 <= part.start <= part.speech_start <= part.speech_end <= part.stop <= position
            assert part.stop - part.start <= rules.max_turn
        for before, after in itertools.pairwise(own):
            assert before.stop <= after.start
            assert (before.number, before.part) < (after.number, after.part)
    last = of("user", parts)[-1]
    assert (last.by, last.speech_end) == ("mark", position - 5)
    known = {}
    for part in updates:
        before = known.get((part.speaker, part.number, part.part))
        if before is not None:
            assert before.stop <= part.stop
            assert before.start == part.start
            assert before.ended is None
        known[part.speaker, part.number, part.part] = part

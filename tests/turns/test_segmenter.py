import itertools
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.turns.segmenter import Judged, Segmenter, TurnRules
from tests.rigs.turn_drawing import STEP, judgements, latest, picture

RULES = TurnRules(pre_roll=2 * STEP, hangover=3 * STEP, min_speech=2 * STEP, max_turn=10**9)


def turns_of(drawn, rules=RULES):
    segmenter = Segmenter("user", rules, itertools.count(1).__next__)
    updates = [part for judged in judgements(drawn) for part in segmenter.push(judged)]
    return latest(updates + segmenter.finish())


def draw(drawn, rules=RULES):
    """Draw the turns of what was judged."""
    return picture(turns_of(drawn, rules), len(drawn))


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        ("....SSSS........", "  --SSSS---     "),
        ("..SSSS..S..S....", "--SSSSSSSSSS--- "),  # pauses shorter than the hangover
        ("SSS.............", "SSS---          "),  # nothing is before the session
        (".SSS............", "-SSS---         "),
        ("...S....S...S...", "                "),  # each too short
        ("...S.S..........", " --SSS---       "),
        ("...S..S..S......", "                "),  # clicks do not add up
        ("....SSSS...SS...", "  --SSSS---SS---"),  # the end of the one is the start of the other
        ("....SSSS....SS..", "  --SSSS----SS--"),
        ("............SSSS", "          --SSSS"),
        ("...............S", "                "),
    ],
)
def test_turns_are_drawn(heard, expected):
    assert draw(heard) == expected


@pytest.mark.parametrize(
    ("heard", "expected", "ends"),
    [
        ("...SSSSSSSSSS...", " --SSS|SSSS|SS---", ["full", "full", "turn"]),
        ("...SSS....SSS...", " --SSS---SSS--- ", ["turn", "turn"]),
        ("...SS..S........", " --SS| S---", ["full", "turn"]),  # full in a pause that goes on
        ("...SS...........", " --SS-          ", ["turn"]),  # and in one that does not
    ],
)
def test_a_turn_longer_than_the_longest_goes_on_in_a_further_part(heard, expected, ends):
    rules = TurnRules(pre_roll=2 * STEP, hangover=3 * STEP, min_speech=STEP, max_turn=5 * STEP)
    parts = turns_of(heard, rules)
    assert [part.ended for part in parts] == ends
    for before, after in itertools.pairwise(parts):
        if before.ended == "full":
            assert before.stop - before.start == rules.max_turn
            assert (after.number, after.part, after.start) == (
                before.number,
                before.part + 1,
                before.stop,
            )


def test_a_turn_is_told_of_as_soon_as_it_is_one_and_while_it_goes_on():
    segmenter = Segmenter("bot", RULES, itertools.count(7).__next__)
    told = [segmenter.push(judged) for judged in judgements(".....SSS......")]
    extents = [[(part.start, part.stop, part.ended) for part in update] for update in told]
    assert extents[5] == []
    assert extents[6] == [(300, 700, None)]
    assert extents[7] == [(300, 800, None)]
    assert extents[8] == [(300, 900, None)]
    assert extents[10] == [(300, 1100, "turn")]
    assert extents[11] == []
    assert told[10][0].number == 7
    assert (told[10][0].speech_start, told[10][0].speech_end) == (500, 800)


def test_speech_that_may_still_become_a_turn_is_undecided():
    segmenter = Segmenter("user", RULES, itertools.count().__next__)
    seen = []
    for judged in judgements("..S.S....S...."):
        segmenter.push(judged)
        seen.append(segmenter.undecided)
    assert seen == [None, None, 200, 200, *[None] * 4, None, 900, 900, None, None, None]


def test_judgements_have_to_follow_each_other():
    segmenter = Segmenter("user", RULES, itertools.count().__next__)
    with pytest.raises(ValueError, match="not 0"):
        segmenter.push(Judged("user", 1, 2, True))


@pytest.mark.parametrize(
    "broken", [{"pre_roll": -1}, {"hangover": 0}, {"max_turn": 0}, {"pre_roll": 9}]
)
def test_rules_with_which_no_turn_could_begin_or_end_are_refused(broken):
    with pytest.raises(ValueError, match="TurnRules"):
        TurnRules(**{"pre_roll": 1, "hangover": 1, "min_speech": 1, "max_turn": 9} | broken)


rules_drawn = st.builds(
    TurnRules,
    pre_roll=st.integers(0, 60),
    hangover=st.integers(1, 40),
    min_speech=st.integers(1, 40),
    max_turn=st.integers(61, 160),
)


@settings(max_examples=300, deadline=None)
@given(lengths=st.lists(st.integers(1, 90), max_size=60), first=st.booleans(), rules=rules_drawn)
def test_turns_are_ordered_inside_the_session_and_long_enough(lengths, first, rules):
    segmenter = Segmenter("user", rules, itertools.count(1).__next__)
    position, updates, speech = 0, [], first
    spoken = set()
    for length in lengths:
        updates += segmenter.push(Judged("user", position, position + length, speech))
        spoken |= set(range(position, position + length)) if speech else set()
        position, speech = position + length, not speech
    parts = latest(updates + segmenter.finish())
    free = 0
    for part in parts:
        assert free <= part.start <= part.speech_start <= part.speech_end <= part.stop <= position
        assert part.stop - part.start <= rules.max_turn
        assert part.stop > part.start
        assert part.ended is not None
        free = part.stop
    numbers = [part.number for part in parts]
    assert numbers == sorted(numbers)
    for number in set(numbers):
        own = [part for part in parts if part.number == number]
        assert [part.part for part in own] == list(range(len(own)))
        assert own[-1].ended in ("turn", "stop")
        speech_range = range(own[0].speech_start, own[-1].speech_end)
        assert len(spoken.intersection(speech_range)) >= rules.min_speech


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=20),
    first=st.booleans(),
    rules=rules_drawn,
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_turns_do_not_depend_on_how_finely_they_were_judged(lengths, first, rules, cuts):
    def turns(cuts):
        segmenter = Segmenter("user", rules, itertools.count(1).__next__)
        position, updates, speech = 0, [], first
        sizes = itertools.cycle(cuts)
        for length in lengths:
            stop = position + length
            while position < stop:
                end = min(stop, position + next(sizes))
                updates += segmenter.push(Judged("user", position, end, speech))
                position = end
            speech = not speech
        return latest(updates + segmenter.finish())

    assert turns([10**9]) == turns(cuts)


def test_updates_never_take_back_what_they_have_said():
    drawn = "..SSSSSS..SSSS......SS.SSSSS" * 5
    rules = TurnRules(pre_roll=2 * STEP, hangover=3 * STEP, min_speech=STEP, max_turn=7 * STEP)
    segmenter = Segmenter("user", rules, itertools.count(1).__next__)
    known = {}
    for judged in judgements(drawn):
        for part in segmenter.push(judged):
            before = known.get((part.number, part.part))
            if before is not None:
                assert before.ended is None
                assert (before.start, before.speech_start) == (part.start, part.speech_start)
                assert before.stop <= part.stop
            assert part.stop <= judged.stop
            known[part.number, part.part] = part


def test_a_day_of_speech_without_a_pause_takes_no_memory():
    rate = 16_000
    rules = TurnRules(
        pre_roll=rate, hangover=rate * 4 // 5, min_speech=rate // 5, max_turn=120 * rate
    )
    segmenter = Segmenter("user", rules, itertools.count(1).__next__)
    parts = frames = 0
    tracemalloc.start()
    base = None
    for second in range(86_400):
        updates = segmenter.push(Judged("user", second * rate, (second + 1) * rate, True))
        ended = [part for part in updates if part.ended]
        parts += len(ended)
        frames += sum(part.stop - part.start for part in ended)
        if second == 600:
            base, _ = tracemalloc.get_traced_memory()
    grown = tracemalloc.get_traced_memory()[0] - base
    tracemalloc.stop()
    (last,) = segmenter.finish()
    assert (last.number, last.part, last.ended) == (1, parts, "stop")
    assert frames + last.stop - last.start == 86_400 * rate
    assert grown < 10_000

"""Dataclasses made of plain values: all that was said, nothing of another type."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Literal

import pytest

from edgerec.audio import GapReason, Stamp, TimelineFrame
from edgerec.store.records.sidecar import GapTotal
from edgerec.store.writing.session_summary import Ended, Totals
from edgerec.validation.constraints import Between
from edgerec.validation.typed import InvalidError, from_plain
from tests.rigs.made_recordings import SESSION, stamp_of

TOTALS = Totals(
    SESSION,
    16_000,
    stamp_of(0),
    TimelineFrame(900),
    800,
    {"chunk": 3, "turn-user": 1},
    {"chunk": 3},
    {"user": {GapReason.XRUN: GapTotal(2, 40)}, "bot": {}},
    Ended(1000, stamp_of(1000), "stop"),
)


@dataclass(frozen=True)
class Simple:
    whole: int
    real: float
    text: str
    switch: bool
    maybe: int | None = None
    named: Mapping[str, float] = field(default_factory=dict)


SIMPLE = {"whole": 1, "real": 2.5, "text": "x", "switch": True}


@pytest.mark.parametrize(
    "value", [TOTALS, replace(TOTALS, ended=None), stamp_of(17, trusted=False)]
)
def test_what_was_written_is_read_back(value):
    assert from_plain(type(value), json.loads(json.dumps(asdict(value)))) == value


def test_fields_that_nobody_knows_are_passed_over_and_missing_ones_have_their_default():
    assert from_plain(Simple, SIMPLE | {"newer": [1]}) == Simple(1, 2.5, "x", True)


def test_a_whole_number_will_do_for_a_real_one():
    assert from_plain(Simple, SIMPLE | {"real": 2, "named": {"a": 1}}).named == {"a": 1}


@pytest.mark.parametrize("name", SIMPLE)
def test_what_is_missing_and_has_no_default_is_an_error(name):
    fields = dict(SIMPLE)
    del fields[name]
    with pytest.raises(ValueError, match=f"^{name} is missing, expected "):
        from_plain(Simple, fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("whole", True),
        ("whole", 1.0),
        ("whole", "1"),
        ("whole", None),
        ("real", False),
        ("real", "1"),
        ("text", 1),
        ("switch", 1),
        ("maybe", "1"),
        ("named", []),
        ("named", {"a": "b"}),
        ("named", None),
    ],
)
def test_a_value_of_another_type_is_an_error_that_says_which(name, value):
    with pytest.raises(ValueError, match=f"^{name}[. ].*, expected "):
        from_plain(Simple, SIMPLE | {name: value})


@pytest.mark.parametrize("value", [None, [], 1, "x"])
def test_what_is_no_object_is_an_error(value):
    with pytest.raises(ValueError, match=r"^it is .*, expected an object"):
        from_plain(Simple, value)


@pytest.mark.parametrize(
    "change",
    [
        {"session": {"id": "../x", "number": 1, "previous": None, "kiosk": "k1"}},
        {"session": {"id": "9f3a01c2", "number": 1, "previous": None, "kiosk": "a/b"}},
        {"gaps": {"user": {"77": {"count": 1, "frames": 1}}, "bot": {}}},
        {"gaps": {"user": {}}},
        {"files": {"letter": 1}},
        {"sample_rate": 0},
        {"ended": {"frames": 1, "stamp": asdict(stamp_of(0)), "reason": "boredom"}},
    ],
)
def test_what_a_class_or_an_annotation_refuses_is_an_error(change):
    with pytest.raises(ValueError):
        from_plain(Totals, asdict(TOTALS) | change)
    assert isinstance(from_plain(Stamp, asdict(stamp_of(0))), Stamp)


@dataclass(frozen=True)
class Inner:
    size: Annotated[int, Between(1, 9, "frames")]
    word: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    inner: Inner
    several: tuple[Inner, ...] = ()
    named: Mapping[Literal["x", "y"], Inner] = field(default_factory=dict)


def test_objects_may_be_in_lists_and_mappings_at_any_depth():
    inner = Inner(2, "b")
    assert from_plain(Outer, {"inner": {"size": 1}}) == Outer(Inner(1))
    whole = Outer(inner, (inner, Inner(3)), {"y": inner})
    assert from_plain(Outer, json.loads(json.dumps(asdict(whole)))) == whole


def test_everything_that_is_wrong_is_said_at_once_with_its_place():
    odd = {
        "inner": {"size": 10},
        "several": [{"size": 1}, {}, {"size": 1, "word": "c"}, 7],
        "named": {"x": {"size": "1"}, "z": {"size": 1}},
    }
    with pytest.raises(InvalidError) as caught:
        from_plain(Outer, odd)
    assert list(map(str, caught.value.wrong)) == [
        "inner.size is 10, expected a whole number from 1 to 9 frames",
        "several[1].size is missing, expected a whole number from 1 to 9 frames",
        "several[2].word is 'c', expected a or b",
        "several[3] is 7, expected an object",
        "named.x.size is '1', expected a whole number from 1 to 9 frames",
        "named.z is 'z', expected x or y",
    ]


def test_a_name_that_no_field_has_is_an_error_only_where_that_is_asked_for():
    odd = {"inner": {"size": 1, "colour": 2}, "more": 1}
    assert from_plain(Outer, odd) == Outer(Inner(1))
    with pytest.raises(InvalidError) as caught:
        from_plain(Outer, odd, strict=True)
    assert str(caught.value) == (
        "more is unknown, there are: inner, several, named; "
        "inner.colour is unknown, there are: size, word"
    )


def test_messages_are_short_and_printable():
    with pytest.raises(InvalidError) as caught:
        from_plain(Outer, {"inner": {"size": "x\n" * 5_000}, "named": {"\x1b" * 500: 1}})
    assert len(str(caught.value)) < 1_000
    assert str(caught.value).isprintable()

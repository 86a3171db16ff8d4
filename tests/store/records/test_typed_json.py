"""Dataclasses read back from JSON: all that was said, nothing of another type."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import pytest

from edgerec.audio import GapReason, Stamp, TimelineFrame
from edgerec.store.records.sidecar import GapTotal
from edgerec.store.typed_json import from_json
from edgerec.store.writing.session_summary import Ended, Totals
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
    assert from_json(type(value), json.loads(json.dumps(asdict(value)))) == value


def test_fields_that_nobody_knows_are_passed_over_and_missing_ones_have_their_default():
    assert from_json(Simple, SIMPLE | {"newer": [1]}) == Simple(1, 2.5, "x", True)


def test_a_whole_number_will_do_for_a_real_one():
    assert from_json(Simple, SIMPLE | {"real": 2, "named": {"a": 1}}).named == {"a": 1}


@pytest.mark.parametrize("name", SIMPLE)
def test_what_is_missing_and_has_no_default_is_an_error(name):
    fields = dict(SIMPLE)
    del fields[name]
    with pytest.raises(ValueError, match=f"Simple is without {name}"):
        from_json(Simple, fields)


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
    with pytest.raises(ValueError, match=f"Simple.{name}"):
        from_json(Simple, SIMPLE | {name: value})


@pytest.mark.parametrize("value", [None, [], 1, "x"])
def test_what_is_no_object_is_an_error(value):
    with pytest.raises(ValueError, match="Simple is without whole"):
        from_json(Simple, value)


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
        from_json(Totals, asdict(TOTALS) | change)
    assert isinstance(from_json(Stamp, asdict(stamp_of(0))), Stamp)

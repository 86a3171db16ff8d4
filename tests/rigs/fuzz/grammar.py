"""JSON values drawn from the types of a dataclass: each right by itself, and some of them odd.

It draws what `validation.typed` builds: a reader gets past the types, to what the values say.
"""

import random
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import IntEnum
from typing import Any, Literal, NewType, get_args, get_origin, get_type_hints

from tests.rigs.damaged_files import ODD_VALUES

SMALL = (0, 0, 0, 1, 2, 16, 40, 100, 1000, 16_000)
LARGE = (-1, 2**31 - 1, 2**32, 2**53, 2**63, 10**18)
TEXTS = ("", "k1", "boot", "9f3a01c2", "x" * 64, "a b", "..", "é", "\udcff")


class Grammar:
    """Draws values.

    Parameters
    ----------
    oddness
        How many values in one are of no right type at all.
    given
        Values by the name of their field, for what has to fit something else.
    """

    def __init__(self, rng: random.Random, oddness: float, given: Mapping[str, Any]) -> None:
        self._rng = rng
        self._oddness = oddness
        self._given = given

    def draw(self, hint: Any, name: str = "") -> Any:
        """Return a JSON value for an annotation."""
        if self._rng.random() < self._oddness:
            return self._rng.choice(ODD_VALUES)
        if name in self._given and self._rng.random() < 0.9:
            return self._given[name]
        hint = hint.__supertype__ if isinstance(hint, NewType) else hint
        if is_dataclass(hint):
            return self._object(hint)
        origin, inner = get_origin(hint), get_args(hint)
        if origin is types.UnionType:
            some = [one for one in inner if one is not type(None)]
            return self.draw(some[0], name) if self._rng.random() < 0.6 else None
        if origin is Literal:
            return self._rng.choice(inner)
        if origin is Mapping:
            return {
                self._key(inner[0]): self.draw(inner[1]) for _ in range(self._rng.randint(0, 3))
            }
        return self._scalar(hint)

    def _object(self, kind: Any) -> dict[str, Any]:
        hints = get_type_hints(kind)
        return {
            one.name: self.draw(hints[one.name], one.name)
            for one in fields(kind)
            if self._rng.random() > self._oddness / 2
        }

    def _key(self, hint: Any) -> str:
        if isinstance(hint, type) and issubclass(hint, IntEnum):
            return str(int(self._rng.choice(list(hint))))
        return str(self.draw(hint))

    def _scalar(self, hint: Any) -> Any:
        if hint is bool:
            return self._rng.random() < 0.5
        if hint is int:
            return self._rng.choice(LARGE if self._rng.random() < 0.1 else SMALL)
        if hint is float:
            return self._rng.choice((0, 0.5, -60.0, 31.25, 1e308, -1e-300))
        return self._rng.choice(TEXTS)

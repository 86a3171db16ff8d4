"""What a test in real time measured: printed in the closing lines, compared by campaigns.

A figure depends on the machine, so the gate prints it and never fails on it. `scripts/campaign`
runs the same tests many times with `--hold-figures`: then one that is over its limit fails the
test, unless the witness saw the machine stand still meanwhile (then the test is repeated).
"""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgerec.clock import raw_now_ns
from tests.rigs.witness import Witness

PROPERTY = "figure"  # of a report, which pytest-xdist hands to the process that prints


@dataclass(frozen=True)
class Figure:
    """One value of a kind, and what it should not exceed."""

    what: str
    value: float
    unit: str
    limit: float

    @property
    def is_over(self) -> bool:
        return self.value > self.limit


class Figures:
    """The figures of one test.

    Parameters
    ----------
    record
        pytest's `record_property`.
    witness
        Of the machine, while the test runs.
    are_held
        Whether one that is over its limit fails the test.
    """

    def __init__(
        self, record: Callable[[str, object], None], witness: Witness, *, are_held: bool
    ) -> None:
        self._record = record
        self._witness = witness
        self.are_held = are_held
        self._began_ns = raw_now_ns()

    def note(
        self,
        what: str,
        value: float,
        unit: str,
        *,
        limit: float,
        since_ns: int | None = None,
        waited_s: float = 0.0,
    ) -> None:
        """Take note of a value; `since_ns` is when that which was measured began.

        `waited_s` is what the test's own processes are known to have waited meanwhile.
        """
        figure = Figure(what, float(value), unit, limit)
        self._record(PROPERTY, (what, figure.value, unit, limit))
        if self.are_held and figure.is_over:
            over_s = figure.value - limit if unit == "s" else (figure.value - limit) / 1000
            self._witness.explain(
                f"{what}: {value:.3f} {unit}, and at most {limit:.3f} were expected",
                since_ns or self._began_ns,
                raw_now_ns(),
                stall_s=over_s if unit in ("s", "ms") else 0.1,
                waited_s=waited_s,
            )


def figures_of(properties: Iterable[tuple[str, object]]) -> list[Figure]:
    """Return the figures in a report's user properties."""
    return [Figure(*value) for name, value in properties if name == PROPERTY]  # type: ignore[misc]


def table(figures: Iterable[Figure]) -> list[str]:
    """Return lines that say of each kind how often it was measured, its median, worst and limit."""
    kinds: dict[str, list[Figure]] = {}
    for figure in figures:
        kinds.setdefault(figure.what, []).append(figure)
    lines = []
    for what, all_of_it in sorted(kinds.items()):
        values = [one.value for one in all_of_it]
        over = sum(one.is_over for one in all_of_it)
        lines.append(
            f"{what}: median {statistics.median(values):.3f}, worst {max(values):.3f} "
            f"{all_of_it[0].unit}, limit {all_of_it[0].limit:.3f}, measured {len(values)} times"
            + (f", OVER {over} times" if over else "")
        )
    return lines

"""What a fault is: how it is brought about and healed, what the status says, what may be lost."""

from dataclasses import dataclass, field, replace
from typing import Any

SILENT: frozenset[str] = frozenset()
NOTHING: frozenset[str] = frozenset()
"""Of the user's frames: every one is recorded."""
HOLES = frozenset({"missing"})
"""Frames that the disk lost, declared as such."""
GAPS = frozenset({"absent", "stall", "overrun", "xrun", "resync", "source"})
"""Frames that the device did not deliver, declared as gaps."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes
    ----------
    inject, heal
        Called with the `Site`; `heal` also makes good what inject has half done.
    told
        Reasons of which the status gives one while it lasts; none: it stays `ok`, or need not
        (docs/failures.md says which).
    may_lose
        Reasons for which frames of the user's track may be missing.
    hold_s
        For how long it lasts once it is told, at random.
    restarts
        The process ends: what is not recorded in between is an interruption, and declared by the
        session's end.
    told_s, ok_s
        Within which the status says so, and is `ok` again.
    needs
        `disk`: a file system of its own; `user`: a service without rights.
    """

    name: str
    inject: Any
    heal: Any = lambda _site: None
    told: frozenset[str] = SILENT
    may_lose: frozenset[str] = NOTHING
    hold_s: tuple[float, float] = (0.5, 4.0)
    restarts: bool = False
    told_s: float = 10.0
    ok_s: float = 10.0
    needs: frozenset[str] = frozenset()


@dataclass
class Site:
    """Where a fault is brought about.

    Attributes
    ----------
    disk
        The kiosk's own; None: it has none.
    kept
        What `inject` leaves for `heal`.
    """

    kiosk: Any
    rng: Any
    disk: Any = None
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def root(self) -> Any:
        return self.kiosk.root


def both(first: Fault, second: Fault) -> Fault:
    """Return a fault, and during it a second one, of which the status says nothing."""
    sites: list[Site] = []

    def inject(site: Site) -> None:
        sites[:] = [replace(site, kept={}), replace(site, kept={})]
        first.inject(sites[0])
        second.inject(sites[1])

    def heal(_site: Site) -> None:
        second.heal(sites[1])
        first.heal(sites[0])

    return replace(
        first,
        name=f"{first.name}, and {second.name}",
        inject=inject,
        heal=heal,
        may_lose=first.may_lose | second.may_lose,
    )


def fault(name: str, inject: Any, heal: Any = lambda _site: None, **more: Any) -> Fault:
    """Return a fault; sets of words may be given as strings of words."""
    for key in ("told", "may_lose", "needs"):
        if isinstance(more.get(key), str):
            more[key] = frozenset(more[key].split())
    return Fault(name, inject, heal, **more)

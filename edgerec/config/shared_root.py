"""Finds what shares the folder of `storage.root`: other files, or a checkout around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from edgerec.config.problems import Problem
from edgerec.config.schema import Config
from edgerec.store.disk import StoreError
from edgerec.store.ownership import checkout_around, others_in

_HINT: Final = "give storage.root a folder of its own, outside any sources"


def shared_root(config: Config) -> Iterator[Problem]:
    """Yield what `storage.root` is shared with, as this process's user finds it; reads the disk.

    The recorder does not begin in a folder that holds other things, but continues in one where it
    has begun.
    """
    root = config.storage.root
    with suppress(StoreError):  # not there yet, or not for this user to see
        if others := others_in(root):
            yield Problem("storage.root", f"{root} holds {others}", _HINT)
    with suppress(StoreError):
        if (checkout := checkout_around(root)) is not None:
            told = (
                f"{root} is in the checkout {checkout}, where `git clean` would delete recordings"
            )
            yield Problem("storage.root", told, _HINT)

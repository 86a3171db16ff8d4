"""Runs an expensive speech classifier only while the input is loud enough to matter.

Its CPU cost scales with speech rather than with time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edgerec.turns.bands import Samples
from edgerec.turns.presence import LOUD_DB
from edgerec.turns.user import Thresholds

_AWAKE: Final = 16  # frames it keeps running after the last loud one: a pause between words
_BEFORE: Final = 6  # frames before the loud one that it is given first


class Network(Protocol):
    """The gated classifier; it remembers what it has heard."""

    @property
    def thresholds(self) -> Thresholds:
        """The thresholds that suit its probabilities."""
        ...

    def probability(self, frame: Samples, /) -> float:
        """Return how likely the next frame is speech."""
        ...


class Woken:
    """Runs a network only while there is something to hear; a `user.Judge`."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._before: deque[Samples] = deque(maxlen=_BEFORE)
        self._awake = 0

    @property
    def thresholds(self) -> Thresholds:
        """The network's thresholds."""
        return self._network.thresholds

    def probabilities(self, frames: Samples, excess_db: NDArray[np.float32], /) -> Iterable[float]:
        """Return the network's probability of each frame, and 0 while it does not run."""
        return [
            self._ask(frame, loud=bool(db > LOUD_DB))
            for frame, db in zip(frames, excess_db, strict=True)
        ]

    def _ask(self, frame: Samples, *, loud: bool) -> float:
        if loud:
            # It keeps its state: a network that is reset at every impact takes some of them for
            # speech.
            while not self._awake and self._before:
                self._network.probability(self._before.popleft())
            self._awake = _AWAKE
        if not self._awake:
            self._before.append(frame)
            return 0.0
        self._awake -= 1
        return self._network.probability(frame)

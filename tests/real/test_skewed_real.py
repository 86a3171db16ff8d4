"""A sample of what `scripts/measure-skewed-devices` measures over ten minutes."""

import numpy as np
import pytest

from edgerec.audio import TRACKS
from tests.campaigns.skewed_devices import FIRST_S, PIECE, RATE, measure


@pytest.mark.real
def test_real_devices_of_different_crystals_stay_together_as_closely_as_the_sidecars_say(tmp_path):
    skewed = measure(tmp_path, seconds=FIRST_S + 20)
    assert skewed.gap_frames == 0
    settled = skewed.apart_us[round(FIRST_S * RATE / PIECE) :]
    stated_us = sum(skewed.residual_us[name] for name in TRACKS)
    assert np.abs(settled).max() <= stated_us

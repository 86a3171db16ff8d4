"""Devices of different crystals: a sample of what `scripts/campaign skewed` measures in minutes."""

import numpy as np
import pytest

from edgerec.clock import raw_now_ns
from tests.campaigns.skewed import measure
from tests.rigs.outages import STALL_S
from tests.rigs.true_sound import RATE

SAMPLE_S = 10.0


@pytest.mark.real
def test_real_devices_of_different_crystals_are_recorded_without_a_gap(tmp_path, machine):
    began_ns = raw_now_ns()
    skewed = measure(tmp_path, machine, SAMPLE_S)
    for track in skewed.tracks.values():
        for start, stop, reason in track.gaps:
            problem = f"a gap of {(stop - start) / RATE:.2f} s ({reason})"
            start_ns, stop_ns = track.instant_ns(start), track.instant_ns(stop)
            machine.explain(problem, start_ns, stop_ns, stall_s=STALL_S)
    apart_ms, limit_ms = np.abs(skewed.apart_us).max() / 1000, skewed.stated_us / 1000
    what = "skewed: apart in the first seconds"
    machine.note(what, apart_ms, "ms", limit=limit_ms, since_ns=began_ns)

import pytest

from tests.campaigns.power_cuts import BOUND_S, power_cuts
from tests.rigs.cut_recording import tell, why_no_mounts

SAMPLE = 3


@pytest.mark.long
@pytest.mark.real
@pytest.mark.skipif(why_no_mounts() is not None, reason=str(why_no_mounts()))
def test_a_power_cut_at_a_random_moment_costs_little_and_leaves_only_whole_files(figures):
    """A sample: `scripts/campaign power-cuts --number 100` is the whole of it."""
    outcomes = list(power_cuts(SAMPLE, seed="gate"))
    assert tell(outcomes)
    for loss_s in (one.loss_s for one in outcomes if one.loss_s is not None):
        figures.note("lost at a power cut", loss_s, "s", limit=BOUND_S)

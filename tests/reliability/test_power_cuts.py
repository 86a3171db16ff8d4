import pytest

from tests.campaigns.power_cuts import power_cuts
from tests.rigs.cut_recording import tell, why_no_mounts

SAMPLE = 3


@pytest.mark.long
@pytest.mark.real
@pytest.mark.skipif(why_no_mounts() is not None, reason=str(why_no_mounts()))
def test_a_power_cut_at_a_random_moment_costs_little_and_leaves_only_whole_files():
    """A sample: `scripts/campaign power-cuts --number 100` is the whole of it."""
    assert tell(list(power_cuts(SAMPLE, seed="gate")))

import pytest

from tests.campaigns.fuzz import fuzz
from tests.rigs.fuzz.kinds import KINDS

SAMPLE = 60


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_start_reads_may_say_anything_and_costs_itself(kind):
    """A sample: `scripts/campaign fuzz` is the whole of it."""
    for number in range(SAMPLE):
        fuzz(kind, 0, number)

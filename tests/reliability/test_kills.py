import pytest

from tests.reliability.harness import tell
from tests.reliability.kills import kills

SAMPLE = 6


@pytest.mark.long
def test_a_kill_at_a_random_moment_costs_little_and_leaves_only_whole_files():
    """A sample: `scripts/campaign kills --number 1000` is the whole of it."""
    assert tell(list(kills(SAMPLE, seed="gate", jobs=3)))

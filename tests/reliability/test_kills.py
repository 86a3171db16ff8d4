import pytest

from tests.campaigns.kills import kills, live_kills
from tests.rigs.cut_recording import tell

SAMPLE = 6
LIVE_SAMPLE = 4  # each takes the seconds that a sound server's device needs to begin


@pytest.mark.long
def test_a_kill_at_a_random_moment_costs_little_and_leaves_only_whole_files():
    """A sample: `scripts/campaign kills --number 1000` is the whole of it."""
    assert tell(list(kills(SAMPLE, seed="gate", jobs=3)))


@pytest.mark.real
def test_nor_does_it_cost_more_of_what_a_sound_server_delivers():
    """A sample: `scripts/campaign kills --live --number 100` is the whole of it."""
    assert tell(list(live_kills(LIVE_SAMPLE, seed="gate", jobs=2)))

import pytest

from tests.campaigns.kills import BOUND_S, kills, live_kills
from tests.rigs.cut_recording import tell

SAMPLE = 6
LIVE_SAMPLE = 4  # each takes the seconds that a sound server's device needs to begin


@pytest.mark.long
def test_a_kill_at_a_random_moment_costs_little_and_leaves_only_whole_files(figures):
    """A sample: `scripts/campaign kills --number 1000` is the whole of it."""
    look_at(list(kills(SAMPLE, seed="gate", jobs=3)), figures)


@pytest.mark.real
def test_nor_does_it_cost_more_of_what_a_sound_server_delivers(figures):
    """A sample: `scripts/campaign kills --live --number 100` is the whole of it."""
    look_at(list(live_kills(LIVE_SAMPLE, seed="gate", jobs=2)), figures)


def look_at(outcomes, figures):
    assert tell(outcomes)
    for loss_s in (one.loss_s for one in outcomes if one.loss_s is not None):
        figures.note("lost at a kill", loss_s, "s", limit=BOUND_S)

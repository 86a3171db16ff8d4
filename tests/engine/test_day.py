"""A day's chunks through the replay path: memory stays, every frame is accounted for."""

import pytest

from tests.campaigns.day import SAMPLE, check_frames, check_memory, recorded

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("day")]


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    return recorded(SAMPLE, tmp_path_factory.mktemp("day"))


def test_a_day_takes_no_more_memory_than_its_first_minutes(day):
    """A day's chunks of a tenth of their length; `scripts/campaign day` is the whole of it."""
    check_memory(day)


def test_a_day_adds_up_to_the_frame(day):
    """A day's chunks of a tenth of their length; `scripts/campaign day` is the whole of it."""
    check_frames(day)

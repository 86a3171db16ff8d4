"""Hours with every consumer attached: each chunk is told once, and memory stays."""

import pytest

from tests.campaigns.hours import SAMPLE, check_chunks, check_memory, recorded

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("hours")]


@pytest.fixture(scope="module")
def hours(tmp_path_factory):
    return recorded(SAMPLE, tmp_path_factory.mktemp("hours"))


def test_every_chunk_of_hours_is_told_once_in_order_with_the_audio_of_its_file(hours):
    """480 chunks of 10 s; `scripts/campaign hours` is eight hours."""
    check_chunks(hours, SAMPLE)


def test_no_consumer_makes_memory_grow(hours):
    """480 chunks of 10 s; `scripts/campaign hours` is eight hours."""
    check_memory(hours, SAMPLE)

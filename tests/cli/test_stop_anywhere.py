import pytest

from tests.campaigns.stops import stops


@pytest.mark.long
@pytest.mark.parametrize("batch", range(2))
def test_a_stop_at_any_moment_leaves_whole_verified_files_and_nothing_else(tmp_path, batch):
    """Ten moments of the first six seconds: `scripts/campaign stops --number 1000` is the whole."""
    stops(batch, tmp_path)

import pytest

from tests.campaigns.days import check_days


@pytest.mark.long
def test_three_days_with_retention_on_leave_memory_and_open_files_flat(memory_path):
    """Days of eight hours, with the chunks of whole ones; `scripts/campaign days` has those."""
    check_days(memory_path, hour_s=1_200)

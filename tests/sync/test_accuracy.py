"""A sample of what `scripts/measure-synchronisation` measures over 24 h, with the same bounds."""

import pytest

from tests.campaigns import synchronisation as accuracy

HOURS = 1.0  # of busy machine: each of the three long rows takes half a minute


@pytest.mark.long
@pytest.mark.parametrize(
    "measured",
    [
        pytest.param(lambda: accuracy.steady(HOURS), id="steady"),
        pytest.param(lambda: [accuracy.start_with_memory()], id="start with memory"),
        pytest.param(lambda: accuracy.position(HOURS), id="position"),
        pytest.param(lambda: [accuracy.tone_snr()], id="tone"),
        pytest.param(lambda: [accuracy.losses(HOURS, counted=True)], id="counted losses"),
        pytest.param(lambda: [accuracy.losses(HOURS, counted=False)], id="uncounted losses"),
    ],
)
def test_the_timeline_is_as_exact_as_promised(measured):
    for row in measured():
        assert row.held, f"{row.measure}: {row.measured}, bound {row.bound}"

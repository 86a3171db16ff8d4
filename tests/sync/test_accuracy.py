"""A sample of what `scripts/campaign synchronisation` measures over 24 h, with the same bounds."""

import pytest

from tests.campaigns import synchronisation as accuracy

# Of a busy machine, on crystals that warm and cool once in 22 and 30 minutes.
STEADY_H = 0.5
POSITION_H = 0.25  # a millionth that nothing corrects is 900 us by then
LOSSES_H = 0.5


@pytest.mark.long
@pytest.mark.parametrize(
    "measured",
    [
        pytest.param(lambda: accuracy.steady(STEADY_H), id="steady"),
        pytest.param(lambda: [accuracy.start_with_memory()], id="start with memory"),
        pytest.param(lambda: accuracy.position(POSITION_H), id="position"),
        pytest.param(lambda: [accuracy.tone_snr()], id="tone"),
        pytest.param(lambda: [accuracy.losses(LOSSES_H, counted=True)], id="counted losses"),
        pytest.param(lambda: [accuracy.losses(LOSSES_H, counted=False)], id="uncounted losses"),
    ],
)
def test_the_timeline_is_as_exact_as_promised(measured):
    """Crystals take a quarter of an hour to show anything; the whole is 24 h of each."""
    for row in measured():
        assert row.held, f"{row.measure}: {row.measured}, bound {row.bound}"

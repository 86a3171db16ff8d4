"""Tests that share what is expensive run in one process, whoever distributes them."""

GROUPED = """
import pathlib
import pytest

@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("group", [
    pytest.param("a", marks=pytest.mark.xdist_group("a")),
    pytest.param("b", marks=pytest.mark.xdist_group("b")),
])
def test_of_a_group(group, number, worker_id):
    with pathlib.Path(group).open("a") as file:
        print(worker_id, file=file)
"""


def test_a_group_runs_in_one_worker(pytester):
    pytester.makepyfile(GROUPED)
    options = ("-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider")
    pytester.runpytest_subprocess(*options).assert_outcomes(passed=24)
    for group in ("a", "b"):
        workers = (pytester.path / group).read_text().split()
        assert len(workers) == 12
        assert len(set(workers)) == 1

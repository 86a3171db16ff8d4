"""What the gate makes of figures and of a machine that stood still, and what it says at the end."""

import pytest

from tests import CHECKOUT

CONFTEST = """
import pytest
from tests.rigs.figures import Figures
from tests.rigs.witness import MachineStalledError
pytest_plugins = ["tests.closing_lines"]

class Quiet:
    def explain(self, problem, start_ns, stop_ns, **_):
        raise AssertionError(problem)

class Stalled:
    def explain(self, problem, start_ns, stop_ns, **_):
        raise MachineStalledError(problem)

@pytest.fixture
def figures(record_property, request):
    witness = Stalled() if "stalled" in request.node.name else Quiet()
    return Figures(record_property, witness, are_held=request.config.getoption("hold_figures"))
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a test file in a pytest of its own, with the gate's plugin."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    pytester.makeconftest(CONFTEST)

    def run(text, *options):
        pytester.makepyfile(text)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)

    return run


MEASURES = """
def test_one(figures):
    figures.note("found after", 1.5, "s", limit=2.0)
def test_another(figures):
    figures.note("found after", 2.5, "s", limit=2.0)
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_figures_are_printed_and_fail_nothing(run, workers):
    result = run(MEASURES, *workers)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["found after: median 2.000, worst 2.500 s, limit 2.000, measured 2 times, OVER 1 times"]
    )


def test_a_campaign_fails_on_a_figure_that_is_over_its_limit(run):
    result = run(MEASURES, "--hold-figures")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*found after: 2.500 s, and at most 2.000 were expected*"])


def test_a_test_that_the_machine_failed_four_times_is_undecided_and_said(run):
    result = run(
        "def test_stalled(figures):\n    figures.note('late', 3.0, 's', limit=2.0)\n",
        "--hold-figures",
    )
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "repeats because the machine stood still: 3",
            "*::test_stalled: *late: 3.000 s, and at most 2.000 were expected*",
            "undecided, as it stood still each time: 1",
            "*UNDECIDED *::test_stalled: *late: 3.000 s, and at most 2.000 were expected*",
        ]
    )


def test_a_test_that_passes_when_it_is_repeated_has_passed(run):
    result = run(
        "from tests.rigs.witness import MachineStalledError\n"
        "times = []\n"
        "def test_once():\n"
        "    times.append(1)\n"
        "    if len(times) == 1:\n"
        "        raise MachineStalledError('it stood still')\n"
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["repeats because the machine stood still: 1"])


def test_a_failure_that_the_machine_does_not_explain_is_not_repeated(run):
    result = run("def test_that_is_wrong():\n    assert False\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["repeats because the machine stood still: 0"])


def test_tests_of_one_group_run_in_one_worker(run):
    result = run(
        "import os, pytest\n"
        "@pytest.mark.xdist_group('container')\n"
        "@pytest.mark.parametrize('number', range(6))\n"
        "def test_one(number, tmp_path_factory):\n"
        "    name = os.environ['PYTEST_XDIST_WORKER']\n"
        "    (tmp_path_factory.getbasetemp().parent / name).touch()\n"
        "    assert len(list(tmp_path_factory.getbasetemp().parent.glob('gw*'))) == 1\n",
        *("-n", "3", "--dist", "loadgroup"),
    )
    result.assert_outcomes(passed=6)

"""The gate's own pytest plugin: the order of tests, repeats, and what is said at the end.

Loaded by tests/conftest.py. The closing lines have the figures, the repeats and the long tests, of
all workers together.
"""

import re
from collections.abc import Generator
from pathlib import Path

import pytest

from tests import CHECKOUT
from tests.rigs.figures import figures_of, table
from tests.rigs.witness import MachineStalledError

REPEATS = 3
UNDECIDED = "undecided"
LONG_S = 20.0  # a test that takes longer says why in its docstring
SLOWEST = 20
DOCUMENT = CHECKOUT / "docs" / "testing.md"
BLOCK = re.compile(r"(?<=<!-- slowest -->\n).*?(?=<!-- /slowest -->)", re.DOTALL)
GROUP = re.compile(r"@\w+$")  # which pytest-xdist adds to the name of a test
WHY = "why"  # a report's property: the first line of its test's docstring


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("edgerec")
    group.addoption("--hold-figures", action="store_true", help="fail on figures over their limits")
    group.addoption("--write-slowest", action="store_true", help=f"into {DOCUMENT.name}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: real parts, which mostly wait, and then simulated days."""
    items.sort(key=lambda item: [not item.get_closest_marker(name) for name in ("real", "long")])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add why a test may be long to its report, and find one undecided that ran in vain.

    Where the machine stood still each time, neither red nor green would be true.
    """
    report = yield
    stalled = call.excinfo is not None and call.excinfo.errisinstance(MachineStalledError)
    if stalled and getattr(item, "execution_count", 1) > REPEATS:
        path, line, _ = item.location
        report.outcome = "skipped"
        report.longrepr = (path, line or 0, f"{UNDECIDED}: {call.excinfo.value}")
    function = getattr(item, "function", None)
    told = (function.__doc__ or "").strip().partition("\n")[0]
    report.user_properties.append((WHY, told))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Repeat a test that the machine has failed, and no other one."""
    config.option.reruns = REPEATS
    config.option.only_rerun = [MachineStalledError.__name__]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    reports = [
        report
        for outcome in ("passed", "failed", "rerun")
        for report in terminalreporter.stats.get(outcome, [])
    ]
    calls = [report for report in reports if report.when == "call"]
    figures = [figure for report in calls for figure in figures_of(report.user_properties)]
    if figures:
        terminalreporter.section("figures of this machine")
        for line in table(figures):
            terminalreporter.line(line)
    repeats = terminalreporter.stats.get("rerun", [])
    terminalreporter.line(f"repeats because the machine stood still: {len(repeats)}")
    for report in repeats:
        terminalreporter.line(f"  {report.nodeid}: {report.longrepr.reprcrash.message}")
    skipped = [one for one in terminalreporter.stats.get("skipped", []) if one.when == "call"]
    undecided = [one for one in skipped if UNDECIDED in str(one.longrepr)]
    terminalreporter.line(f"undecided, as it stood still each time: {len(undecided)}")
    for report in undecided:
        terminalreporter.line(f"  UNDECIDED {report.nodeid}: {report.longrepr[2]}")
    durations: dict[str, float] = {}
    for report in reports:
        durations[report.nodeid] = durations.get(report.nodeid, 0.0) + report.duration
    whys = {report.nodeid: dict(report.user_properties).get(WHY, "") for report in calls}
    for nodeid, seconds in durations.items():
        if seconds > LONG_S and not whys.get(nodeid):
            terminalreporter.line(f"over {LONG_S:.0f} s, and its docstring has no reason: {nodeid}")
    if config.option.write_slowest:
        _write_slowest(DOCUMENT, durations, whys)


def _write_slowest(document: Path, durations: dict[str, float], whys: dict[str, str]) -> None:
    rows = ["| test | s | why |", "|---|---|---|"]
    slowest = sorted(durations.items(), key=lambda one: -one[1])[:SLOWEST]
    for nodeid, seconds in slowest:
        name = GROUP.sub("", nodeid.removeprefix("tests/")).replace("|", "\\|")
        rows.append(f"| `{name}` | {seconds:.1f} | {whys.get(nodeid, '')} |")
    text = "\n".join(rows) + "\n"
    document.write_text(BLOCK.sub(lambda _: text, document.read_text()))

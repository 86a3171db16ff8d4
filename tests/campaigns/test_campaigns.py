"""Each campaign is a command, and tells what it is."""

from importlib import import_module
from pathlib import Path

import pytest

from tests.campaigns.__main__ import CAMPAIGNS, module_of
from tests.campaigns.devices import table

REPORT = """<testsuites><testsuite>
<testcase name="test_a_source_that_goes[pulseaudio-1-2]"><properties>
<property name="why" value=""/>
<property name="figure" value="('device: fault found after', 0.5, 's', 2.05)"/>
</properties></testcase>
<testcase name="test_a_source_that_goes[pulseaudio-2-2]"><properties>
<property name="figure" value="('device: fault found after', 1.5, 's', 2.05)"/>
<property name="figure" value="('device: CPU while it is away', 0.07, 'of a core', 0.6)"/>
</properties></testcase>
<testcase name="test_without_figures"/>
</testsuite></testsuites>"""


def test_every_module_here_is_a_campaign():
    modules = {path.stem for path in Path(__file__).parent.glob("*.py")}
    others = {"__init__", "__main__", Path(__file__).stem}
    assert {name.replace("-", "_") for name in CAMPAIGNS} == modules - others


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_campaign_can_be_run_and_says_what_it_is(name):
    campaign = import_module(module_of(name))
    assert callable(campaign.run)
    assert campaign.__doc__.partition("\n")[0].endswith(".")


def test_what_was_measured_is_a_table_of_medians_and_the_worst_by_test():
    assert table(REPORT) == [
        "| what happens | found | again | misplaced | CPU | other track |",
        "|---|---|---|---|---|---|",
        "| a source that goes | 1.00 (1.50) s |  |  | 0.07 (0.07) |  |",
    ]

"""What Prometheus itself says of our metrics and alert rules."""

import shutil
import subprocess

import pytest

from edgerec.health.snapshot import status_of
from edgerec.service.metrics import exposition
from tests import CHECKOUT
from tests.rigs.made_statuses import FACTS, FULL, WELL

pytestmark = pytest.mark.real

RULES = CHECKOUT / "systemd" / "monitoring" / "edgerec-alerts.yaml"


def promtool(*arguments, given=""):
    """Run it; return its exit status and everything it says."""
    own = CHECKOUT / ".tools" / "promtool"
    program = own if own.exists() else shutil.which("promtool")
    if program is None:
        pytest.fail("promtool is not here: scripts/setup --tests fetches it")
    done = subprocess.run(
        [program, *arguments], input=given, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("facts", [WELL, FACTS, FULL])
def test_promtool_has_nothing_to_say_against_the_metrics(facts):
    assert promtool("check", "metrics", given=exposition(status_of(facts))) == (0, "")


def test_promtool_finds_the_alert_rules_in_order():
    status, said = promtool("check", "rules", str(RULES))
    assert status == 0, said
    assert "SUCCESS" in said

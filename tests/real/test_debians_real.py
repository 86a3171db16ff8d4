"""Debian 12 and 13 as they are before edgerec: does what the README says work there?

In a copy of a root that knows nothing of edgerec, or that has what this machine can't have, for a
plain user with sudo, with this checkout as it is now. What is downloaded was downloaded before, but
for the first time and when it has changed.
"""

import os
import re

import pytest

from tests.rigs.debian import (
    RELEASES,
    Debian,
    bare_root,
    root_with_checkout,
    root_with_pipewire_alsa,
    wheels,
)

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a Debian"),
]

PYTHON_313 = "trixie"
PARTS = "4"
DEMO_S, UNITS_S = 1200.0, 1200.0  # a busy machine needs a tenth
DESKTOP = os.environ.get("EDGEREC_RELEASE", PYTHON_313)


@pytest.fixture
def debian(tmp_path):
    """Make a Debian like a root; there is one in a test."""
    made = []

    def make(root):
        made.append(Debian(tmp_path / "debian", root))
        return made[0]

    yield make
    for one in made:
        one.delete()


@pytest.mark.parametrize("release", RELEASES)
def test_a_plain_user_clones_it_and_records_the_demo(debian, release):
    """80 packages are unpacked, an environment is made, and the demo takes 20 s of real time."""
    kiosk = debian(bare_root(release))
    kiosk.give_sources()
    said = kiosk.run(
        "git clone -q /srv/edgerec.git edgerec; export PIP_NO_INDEX=1 PIP_FIND_LINKS=/wheels; "
        "cd edgerec; scripts/demo; .venv/bin/edgerec verify edgerec-demo",
        timeout_s=DEMO_S,
        binds={wheels(release): "/wheels"},
    )
    assert "setup: installing system packages: " in said
    assert len(re.findall(r"^  ready/.* chunk, 80000 frames", said, re.MULTILINE)) == 4
    assert said.endswith("edgerec-demo: 4 files, 1.3 MB, 1 sessions: ok\n")


def test_the_tests_pass_on_python_3_13(debian):
    """A quarter, another one with each commit; `scripts/campaign debian` runs all of them."""
    kiosk = debian(root_with_checkout(PYTHON_313))
    kiosk.clone()
    said = kiosk.run(
        "cd edgerec; part=$(( 0x$(git rev-parse HEAD^{tree} | cut -c1-8) % PARTS )); "
        ".venv/bin/pytest -q -m 'not real and not long' --part $part/PARTS".replace("PARTS", PARTS),
        timeout_s=UNITS_S,
    )
    assert " passed" in said


def test_with_pipewires_plug_in_for_alsa_the_right_source_is_recorded(debian):
    """Five devices, each with real audio around two faults; as on Raspberry Pi OS.

    `EDGEREC_RELEASE=bookworm` has it tried on Debian 12.
    """
    kiosk = debian(root_with_pipewire_alsa(DESKTOP))
    kiosk.clone()
    said = kiosk.run(
        "cd edgerec; .venv/bin/pytest -q -n 3 -rP tests/real/test_pipewire_alsa_real.py",
        timeout_s=UNITS_S,
    )
    print(said)
    assert " passed" in said

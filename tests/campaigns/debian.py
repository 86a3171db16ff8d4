"""What the README promises, in a fresh Debian that has to download everything.

A plain user with sudo clones this checkout, records the demo and passes the gate; then the service
is tried in a booted container.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests import CHECKOUT
from tests.rigs.debian import RELEASES, Debian, bare_root

STEP_S = 7200.0
SERVICE = "tests/real/test_systemd_real.py"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--release", choices=RELEASES, default=RELEASES[-1])


def run(args: argparse.Namespace) -> int:
    """Try a release, and tell how each step ended; return 0 if all is as promised."""
    release = args.release
    with tempfile.TemporaryDirectory() as folder:
        kiosk = Debian(Path(folder) / "root", bare_root(release))
        kiosk.run("sudo apt-get clean; sudo rm -rf /var/lib/apt/lists/*", timeout_s=STEP_S)
        kiosk.give_sources()
        passed = [
            _step("git clone", partial(_as_user, kiosk, "git clone -q /srv/edgerec.git edgerec")),
            _step("scripts/demo", partial(_as_user, kiosk, "cd edgerec; scripts/demo")),
            _step("scripts/test", partial(_as_user, kiosk, "cd edgerec; scripts/test")),
        ]
    passed.append(_step("the service", partial(_service, release)))
    return 0 if all(passed) else 1


def _step(name: str, do: Callable[[], bool]) -> bool:
    began_s = time.monotonic()
    passed = do()
    took_s = time.monotonic() - began_s
    print(f"campaign: {name}: {'passed' if passed else 'FAILED'} in {took_s:.0f} s", flush=True)
    return passed


def _as_user(kiosk: Debian, command: str) -> bool:
    return kiosk.call(command, timeout_s=STEP_S) == 0


def _service(release: str) -> bool:
    command = [sys.executable, "-m", "pytest", "--durations=5", SERVICE]
    env = os.environ | {"EDGEREC_RELEASE": release}
    return subprocess.run(command, cwd=CHECKOUT, env=env, check=False).returncode == 0

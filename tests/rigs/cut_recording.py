"""A recording that something cuts short, and what must be true of its files afterwards."""

import json
import math
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgerec.audio import TRACKS
from edgerec.clock import SystemClock, monotonic_now_ns
from edgerec.service.control.client import ServiceConnection
from edgerec.stamps import stamp_now
from edgerec.store.archive.verify import verify
from edgerec.store.root import StorageRoot
from edgerec.store.writing.recover import recover
from edgerec.store.writing.session_summary import PREFIX
from tests.rigs.waiting import PATIENCE_S, wait_for

S = 1_000_000_000
CHUNK_S = 2.0
STARTING_S = 3.0  # of a process: the moments before it records
RECORDING_S = 3 * CHUNK_S
_CAP_SYS_ADMIN = 1 << 21  # linux/capability.h
FORMATS = ("wav", "flac", "opus")
SIMULATED = {track: {"source": "simulated"} for track in TRACKS}


def settings_of(number):
    """Return how the nth recording is made: formats by turns, and every second one with turns.

    Where no turns are recorded, devices are looked at less often, and more is on its way.
    """
    return {"format": FORMATS[number % len(FORMATS)], "enable_turn_audio": number % 2 == 1}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one cut has cost."""

    after_s: float
    """From the start of the process."""
    loss_s: float | None
    """From the last frame there is to the cut; None: no session had begun."""
    problems: list[str] = field(default_factory=list)


class Service:
    """`edgerec run` in a process of its own, on simulated devices where no `tracks` are given."""

    def __init__(self, folder, root, *, tracks=SIMULATED, **recording):
        self.root = root
        self._log = folder / "log"
        self._socket = folder / "control.sock"
        file = folder / "edgerec.yaml"
        settings = {"chunk_seconds": CHUNK_S, "enable_turn_audio": True, **recording}
        document = {
            "kiosk_id": "k1",
            "recording": settings,
            "tracks": tracks,
            "storage": {"root": str(root), "utc_wait_s": 0},
            "retention": {"min_free_bytes": 0},
            "control": {"socket": str(self._socket)},
        }
        file.write_text(json.dumps(document))  # JSON is YAML
        self.started_ns = monotonic_now_ns()
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edgerec", "run", "--config", str(file)],
                stderr=log,
                start_new_session=True,
            )

    def wait_for_a_random_moment(self, rng):
        """Wait: one time in four for one of its start, else for one of its recording."""
        if rng.random() < 1 / 4:
            time.sleep(rng.uniform(0, STARTING_S))
            return

        def is_begun():
            assert self.process.poll() is None, self.said()
            return any((self.root / ".state").glob(f"{PREFIX}-*.json"))

        wait_for(is_begun, why=self.said)
        time.sleep(rng.uniform(0, RECORDING_S))

    def kill(self):
        """Kill it, and the capture processes with it; return when, on CLOCK_MONOTONIC."""
        killed_ns = monotonic_now_ns()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        return killed_ns

    def stop(self):
        """End it in good order; return its exit status."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def said(self):
        """Return what it has logged so far."""
        return self._log.read_text()

    def wait_to_hear(self, sentence):
        """Wait until it has logged it."""

        def is_said():
            said = self.said()
            assert sentence in said or self.process.poll() is None, said
            return sentence in said

        wait_for(is_said, look_s=0.1, why=self.said)

    def wait_until_behind(self, seconds):
        """Wait until so much is recorded that its disk does not have."""

        def is_behind():
            with ServiceConnection([self._socket]) as connection:
                storage = connection.request("status", {})["storage"]
            return storage["writer_lag_seconds"] >= seconds

        wait_for(is_behind, look_s=0.1, why=self.said)

    def published(self):
        """Return the names that it has said are published."""
        return re.findall(r"published kind=\w+ file=(\S+)", self.said())


def outcome(service, cut_ns, *, next_boot):
    """Recover what a cut has left, and look for everything that must not be.

    Parameters
    ----------
    cut_ns
        On CLOCK_MONOTONIC.
    next_boot
        Recover as after a start of the machine: nothing is there that was not synced.
    """
    after_s = (cut_ns - service.started_ns) / S
    now = stamp_now(SystemClock())
    with StorageRoot(service.root) as root:
        done = recover(root, replace(now, boot_id="the next boot") if next_boot else now)
        left = [path.name for path in root.work.iterdir()]
    problems = [f"{path.name}: {why}" for path, why in done.quarantined]
    problems += [f"{name} is left in .work" for name in left]
    report = verify(service.root)
    problems += [f"{f.path.name}: {f.problem}" for f in report.findings if f.severity == "error"]
    there = {path.name for path in service.root.rglob("ready/*/*/*")}
    problems += [
        f"{name} was published and is gone" for name in service.published() if name not in there
    ]
    return Outcome(after_s, _loss_s(service.root, cut_ns), problems)


def _loss_s(root, cut_ns):
    """Return the time from the last frame there is to the cut."""
    stops = []
    for path in root.glob("ready/*/*/*_session.json"):
        record = json.loads(path.read_text())
        stops.append(record["monotonic_ns"] + record["frames"] * S // record["sample_rate"])
    return (cut_ns - max(stops)) / S if stops else None


def tell(outcomes, bound_s=math.inf, out=sys.stdout):
    """Print what the cuts have cost; return whether nothing was wrong.

    How much is lost depends on how fast the machine was: only campaigns bound it.
    """
    losses = sorted(one.loss_s for one in outcomes if one.loss_s is not None)
    problems = [f"after {one.after_s:.2f} s: {p}" for one in outcomes for p in one.problems]
    problems += [
        f"{loss_s:.2f} s are lost, {bound_s} s may be" for loss_s in losses if loss_s > bound_s
    ]
    print(*problems, sep="\n", file=out)
    if losses:
        print(
            f"{len(outcomes)} cuts, {len(losses)} of them while recording: "
            f"median loss {losses[len(losses) // 2]:.2f} s, worst {losses[-1]:.2f} s, "
            f"{len(problems)} problems",
            file=out,
        )
    return not problems


def count(outcomes, number, bound_s):
    """Collect outcomes, tell what they have cost; return the exit status of a campaign."""
    collected = []
    for one in outcomes:
        collected.append(one)
        if sys.stderr.isatty():
            print(f"{len(collected)} of {number}", end="\r", file=sys.stderr)
    return 0 if tell(collected, bound_s) else 1


def require_mounts():
    """End the program where file systems can't be mounted."""
    why_not = why_no_mounts()
    if why_not:
        sys.exit(f"campaign: {why_not}")


def why_no_mounts():
    """Return why file systems can't be mounted here; None: they can."""
    if not _capabilities() & _CAP_SYS_ADMIN:
        return "mounting file systems needs root (CAP_SYS_ADMIN): run scripts/check with sudo"
    if not Path("/dev/loop-control").exists():
        return "this machine has no loop devices: modprobe loop"
    return None


def _capabilities():
    [line] = re.findall(r"^CapEff:\s*(\w+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(line, 16)

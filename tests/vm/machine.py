"""What the machine says of the service, and what was found wrong with it."""

import json
import math
import os
import re
import socket
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

CONFIG = Path("/etc/edgerec/edgerec.yaml")
ROOT = Path("/var/lib/edgerec")
SOCKET = "/run/edgerec/control.sock"
CGROUP = Path("/sys/fs/cgroup/system.slice/edgerec.service")
PATIENCE_S = 240.0  # an emulated processor is slow
RATHER_LONG_S = 3000.0  # where it compiles

problems = []


def check(holds, problem):
    if not holds:
        problems.append(problem)


def run(*command, fails=False, within_s=PATIENCE_S):
    """Run a command; return its output."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=within_s
    )
    if done.returncode and not fails:
        give_up(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def wait_for(is_so, what):
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            give_up(f"waited in vain for {what}")
        time.sleep(0.2)


def give_up(why):
    print(run("journalctl", "-u", "edgerec", "-n", "60", "--no-pager", "-o", "short-monotonic"))
    print(f"PROBLEM {why}", flush=True)
    os._exit(1)  # whatever plays


def status():
    """Return the service's own document; empty while it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE_S)
            client.connect(SOCKET)
            client.sendall(b'{"id": 1, "command": "status", "args": {}}\n')
            return json.loads(client.makefile().readline())["result"]
    except (OSError, ValueError):
        return {}


def property_of(name):
    return run("systemctl", "show", "edgerec", "--value", "-p", name).strip()


def processes():
    """Return those of the service's user, one a line; a zombie is one, too."""
    return run("ps", "-o", "pid=,stat=,args=", "-u", "edgerec", fails=True).splitlines()


def is_emulated():
    return run("systemd-detect-virt", fails=True).strip() == "qemu"  # KVM says kvm


def boot_id():
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def uptime_s():
    return float(Path("/proc/uptime").read_text().split()[0])


@dataclass(frozen=True)
class Use:
    """What the service uses at a time."""

    at_s: float
    memory_mib: float
    """Without the page cache, which the kernel takes back."""
    cpu_s: float
    files: int
    """Open ones of the main process, most of the time."""

    @classmethod
    def now(cls):
        memory = int((CGROUP / "memory.current").read_text())
        return cls(
            time.monotonic(),
            (memory - entry("memory.stat", "file")) / 2**20,
            entry("cpu.stat", "usage_usec") / 1e6,
            open_files(),
        )

    @staticmethod
    def limit():
        """Return the peak and the limit of memory in MiB, and how many that has killed."""
        peak_file = CGROUP / "memory.peak"
        peak = int(peak_file.read_text()) / 2**20 if peak_file.exists() else math.nan
        limit = int((CGROUP / "memory.max").read_text()) / 2**20
        return peak, limit, entry("memory.events", "oom_kill")


def open_files():
    """Return the median over two seconds: between two chunks the recording has none open."""
    files = Path(f"/proc/{property_of('MainPID')}/fd")
    counts = []
    for _ in range(21):
        counts.append(sum(1 for _ in files.iterdir()))
        time.sleep(0.1)
    return statistics.median_high(counts)


def entry(file, key):
    """Return a number of one of the control group's tables."""
    return int(re.search(rf"^{key} (\d+)", (CGROUP / file).read_text(), re.M)[1])

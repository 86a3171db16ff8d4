"""A Debian with a real systemd as its first process, in a container, and edgerec installed in it.

Root and systemd-nspawn are needed. Only one at a time: `--keep-unit` shares a cgroup.
"""

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.rigs import deaths
from tests.rigs.debian import bare_root, copy
from tests.rigs.waiting import PATIENCE_S, wait_for

MACHINE = "edgerec-test"
NAMESPACES = ("-m", "-u", "-i", "-n", "-p", "-C")
LOOK_S = 0.1


class Container:
    """One root file system, that can be booted, asked and powered off again and again.

    Parameters
    ----------
    folder
        Where its root file system and its console's log are.
    release
        Of Debian.
    binds
        Folders of this machine that it sees, read-only unless they are to be written.
    """

    def __init__(self, folder: Path, release: str, binds: dict[Path, str]) -> None:
        self.root = folder / "root"
        self._log = folder / "console.log"
        self._binds = binds
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0
        copy(bare_root(release), self.root)

    def boot(self) -> None:
        """Boot, and wait until systemd has started what is to be started."""
        command = ["systemd-nspawn", "-q", "-D", str(self.root), f"--machine={MACHINE}"]
        command += ["--register=no", "--keep-unit"]
        command += [f"--bind={source}:{target}" for source, target in self._binds.items()]
        env = os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}  # cgroup v2, as on a kiosk
        with self._log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                [*command, "-b"], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.watch()
        self._leader = wait_for(self._find_leader, look_s=LOOK_S, why=self._log.read_text)
        wait_for(self._is_up, look_s=LOOK_S, why=self._log.read_text)

    def watch(self) -> None:
        """Have a test fail if it ends by itself; for one that outlives tests, in each of them."""
        if self._nspawn is not None:
            deaths.watch_process("the container", self._nspawn, may_end=False)

    def power_off(self) -> None:
        """Shut down in good order."""
        if self._nspawn is None:
            return
        deaths.forget(self._nspawn)
        if self._leader:
            os.kill(self._leader, signal.SIGRTMIN + 4)  # systemd(1): poweroff.target
        self._nspawn.wait(PATIENCE_S)
        self._nspawn = None
        self._leader = 0

    def close(self) -> None:
        """Power off and delete it."""
        try:
            self.power_off()
        finally:
            if self._nspawn is not None:
                self._nspawn.terminate()
                self._nspawn.wait(PATIENCE_S)
            shutil.rmtree(self.root, ignore_errors=True)

    def run(self, command: str, *, fails: bool = False, timeout_s: float = PATIENCE_S) -> str:
        """Run a shell command line inside, as root; return what it printed."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._leader), *NAMESPACES, "--", "/bin/bash", "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert fails or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file inside; its folder is made."""
        self.run(f"mkdir -p {shlex.quote(str(Path(path).parent))}")
        self.run(f"printf %s {shlex.quote(text)} >{shlex.quote(path)}")

    def spoil_checkout(self, line: str) -> str:
        """Copy what is installed of /checkout, add a line to `edgerec run`; return where it is."""
        wanted = "scripts systemd config edgerec requirements pyproject.toml README.md LICENSE"
        self.run(
            f"rm -rf /root/spoilt; mkdir /root/spoilt; cd /checkout; cp -r {wanted} /root/spoilt"
        )
        self.run(f"echo {shlex.quote(line)} >>/root/spoilt/edgerec/cli/run.py")
        return "/root/spoilt"

    def property(self, name: str) -> str:
        """Return one of systemd's properties of the service."""
        return self.run(f"systemctl show --value -p {name} edgerec").strip()

    def wait_until(self, is_so: Callable[[], object], what: str) -> None:
        """Wait for something; tell what the service logged if it never comes."""

        def why() -> str:
            logged = self.run("journalctl -u edgerec -n 50 --no-pager", fails=True)
            return f"waited in vain for {what}\n{logged}"

        wait_for(is_so, look_s=LOOK_S, why=why)

    def _find_leader(self) -> int | None:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, self._log.read_text()
        pid = self._nspawn.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
        return None

    def _is_up(self) -> bool:
        state = self.run("systemctl is-system-running", fails=True).strip()
        return state in ("running", "degraded")

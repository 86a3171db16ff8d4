"""`edgerec run` as a process, on simulated devices."""

import os
import subprocess
import sys

from tests.rigs import deaths
from tests.rigs.waiting import PATIENCE_S, wait_for


class Run:
    """One `edgerec run` on a configuration of simulated devices."""

    def __init__(self, folder, root=None, more="", recording="chunk_seconds: 0.5"):
        self.root = root or folder / "root"
        self.file = folder / "edgerec.yaml"
        self.file.write_text(
            "kiosk_id: k1\n"
            f"recording: {{{recording}}}\n"
            "tracks: {user: {source: simulated}, bot: {source: simulated}}\n"
            f"storage: {{root: {self.root}, utc_wait_s: 0}}\n{more}"
        )
        self.environment = os.environ | {"XDG_RUNTIME_DIR": str(folder)}  # for its control socket
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "edgerec", "run", "--config", str(self.file)]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=self.environment
        )
        deaths.watch_process("edgerec run", self.process)

    def kill(self):
        """End it whatever it does, if it has not ended."""
        deaths.forget(self.process)
        self.process.kill()
        self.process.communicate()

    def end(self):
        """End it in good order; return what was said."""
        self.process.terminate()
        status, said = self.finish()
        assert status == 0, said
        return said

    def finish(self):
        """Wait for the end; return the exit status and what was said."""
        deaths.forget(self.process)
        _, said = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, said

    def wait_to_hear(self, sentence):
        """Read on until the process says it; a process that ends without it fails the test."""
        assert any(sentence in line for line in self.process.stderr), sentence

    def wait_for(self, pattern):
        def is_there():
            assert self.process.poll() is None, self.process.communicate()
            return any(self.root.glob(pattern))

        wait_for(is_there, look_s=0.05, why=lambda: f"no {pattern} in {self.root}")


def files(root, pattern):
    return [path for path in root.glob(pattern) if path.is_file()]

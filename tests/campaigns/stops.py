"""SIGTERM at any moment, the start of the interpreter included, leaves whole files or none."""

import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from edgerec.store.archive.verify import verify
from edgerec.store.records.sidecar_reader import DescribedSession, read_sidecar
from tests.rigs.waiting import PATIENCE_S

LAST_S = 6.0
AT_ONCE = 5  # processes with two capture children each, on two cores


def stops(number, folder):
    """Stop processes at five random moments; assert what each has left."""
    rng = random.Random(number)
    moments_s = [rng.uniform(0, LAST_S) for _ in range(AT_ONCE)]
    for root, status, said in _stopped_at(moments_s, folder):
        if status == -signal.SIGTERM:
            # The interpreter was still starting: it has done nothing, and said nothing.
            assert not root.exists()
            assert said == ""
            continue
        assert status == 0, said
        assert list((root / ".work").iterdir()) == []
        assert list((root / "quarantine").iterdir()) == []
        report = verify(root)
        assert report.findings == ()
        found = _sessions(root)
        assert found["begun"] == found["closed"]
        assert report.files == 0 or len(found["closed"]) == 1


def _start(root):
    file = root.with_suffix(".yaml")
    file.write_text(
        "recording: {chunk_seconds: 0.3, separate_tracks: true, enable_turn_audio: true}\n"
        "tracks: {user: {source: simulated}, bot: {source: simulated}}\n"
        f"storage: {{root: {root}}}\n"
    )
    command = [sys.executable, "-m", "edgerec", "run", "--config", str(file)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def _stopped_at(moments_s, folder):
    """Start one process for each moment, all at once; yield (root, status, words) of each."""
    started_s = time.monotonic()
    runs = [(folder / f"after-{moment_s * 1e3:.0f}-ms", moment_s) for moment_s in sorted(moments_s)]
    running = [(root, moment_s, _start(root)) for root, moment_s in runs]
    for _, moment_s, process in running:
        time.sleep(max(0.0, started_s + moment_s - time.monotonic()))
        process.send_signal(signal.SIGTERM)
    for root, _, process in running:
        _, said = process.communicate(timeout=PATIENCE_S)
        yield root, process.returncode, said


def _sessions(root):
    described = [read_sidecar(path) for path in root.rglob("*.json") if ".state" not in path.parts]
    return {
        "begun": {one.key.session for one in described},
        "closed": {one.key.session for one in described if isinstance(one, DescribedSession)},
    }


def options(parser):
    parser.add_argument("--number", type=int, default=1000, help="how many (default: 1000)")


def run(args):
    for batch in range(-(-args.number // AT_ONCE)):
        with tempfile.TemporaryDirectory() as folder:
            stops(batch, Path(folder))
    print(f"{args.number} stops left whole files or none")

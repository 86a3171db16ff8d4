"""A real file system that is frozen under a recording, until every write hangs: what is lost."""

import json
import subprocess
import tempfile
import time
from pathlib import Path

from edgerec.store.archive.verify import verify
from tests.campaigns.power_cuts import Disk
from tests.rigs.cut_recording import Service, require_mounts

LEAD_S = 5.0
STALLS_S = (30, 60)


def stall_once(seconds):
    """Return how many seconds a stall has cost, by the session's record; all else must be whole."""
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder))
        with disk.mounted() as place:
            service = Service(Path(folder), place / "root")
            service.wait_to_hear("published kind=chunk")
            subprocess.run(["fsfreeze", "--freeze", str(place)], check=True)
            try:
                time.sleep(seconds)
            finally:
                subprocess.run(["fsfreeze", "--unfreeze", str(place)], check=True)
            time.sleep(LEAD_S)
            assert service.stop() == 0, service.said()
            assert verify(place / "root").ok
            [path] = (place / "root").glob("ready/*/*/*_session.json")
            record = json.loads(path.read_text())
            return record["losses"].get("disk", 0) / record["sample_rate"]


def run(_args):
    require_mounts()
    for seconds in STALLS_S:
        print(f"a stall of {seconds} s cost {stall_once(seconds):.1f} s", flush=True)

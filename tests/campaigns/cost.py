"""How many bytes are written for a byte of audio, by the process and by its file system."""

import json
import subprocess
import tempfile
import time
from pathlib import Path

from tests.campaigns.power_cuts import Disk
from tests.rigs.cut_recording import FORMATS, Service, require_mounts

SECTOR_BYTES = 512
CHUNK_S = 30.0
RECORDED_S = 90


def written_per_audio_byte(seconds, form):
    """Record on an ext4 of its own; return (by the process, by the device) for a byte of PCM."""
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder))
        with disk.mounted() as place:
            device = _device_of(place)
            service = Service(Path(folder), place / "root", chunk_seconds=CHUNK_S, format=form)
            service.wait_to_hear("track delivers")
            time.sleep(3)  # what a start writes once is not what recording costs
            before = _io(service), _written(device)
            time.sleep(seconds)
            after = _io(service), _written(device)
            status = service.stop()
            assert status == 0, service.said()
            frames = seconds * _rate(place / "root")
        audio_bytes = frames * 2 * 2
        return tuple((b - a) / audio_bytes for a, b in zip(before, after, strict=True))


def _device_of(place):
    found = subprocess.run(
        ["findmnt", "-n", "-o", "SOURCE", str(place)], check=True, capture_output=True, text=True
    )
    return Path(found.stdout.strip()).name


def _io(service):
    lines = Path(f"/proc/{service.process.pid}/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["write_bytes"])


def _written(device):
    return int(Path(f"/sys/block/{device}/stat").read_text().split()[6]) * SECTOR_BYTES


def _rate(root):
    record = next(root.glob("ready/*/*/*_session.json"))
    return json.loads(record.read_text())["sample_rate"]


def run(_args):
    require_mounts()
    for form in FORMATS:
        process, device = written_per_audio_byte(RECORDED_S, form)
        print(f"{form}: {process:.2f} bytes by the process, {device:.2f} on ext4, for one of audio")

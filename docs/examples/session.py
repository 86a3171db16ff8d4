"""One file of a whole session, whatever it was cut into, with ffmpeg.

    python3 session.py /srv/edgerec/ready 9f3a01c2 session.flac

Chunks are put together in order; what no file holds (`missing_before`) becomes silence, so that
every frame stands where it was recorded.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Write the session that the arguments name."""
    ready, session, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    sidecars = chunks(ready, session)
    if not sidecars:
        print(f"session: no chunk of {session} under {ready}", file=sys.stderr)
        return 1
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", *inputs(sidecars), str(out)]
    return subprocess.run(command).returncode


def chunks(ready: Path, session: str) -> list[tuple[Path, dict[str, Any]]]:
    """Return the session's chunks in order, each with what its sidecar says."""
    found = []
    for path in ready.glob(f"kiosk=*/date=*/*_{session}_*_chunk.json"):
        sidecar = json.loads(path.read_text())
        found.append((path.with_name(sidecar["file"]), sidecar))
    return sorted(found, key=lambda chunk: chunk[1]["start_frame"])


def inputs(sidecars: list[tuple[Path, dict[str, Any]]]) -> list[str]:
    """Return ffmpeg's arguments: each chunk, what is missing before it, and their order."""
    arguments: list[str] = []
    count = 0
    for path, sidecar in sidecars:
        form = sidecar["format"]
        if sidecar["missing_before"]:
            layout = "mono" if len(form["channels"]) == 1 else "stereo"
            seconds = sidecar["missing_before"] / form["sample_rate"]
            silence = f"anullsrc=sample_rate={form['sample_rate']}:channel_layout={layout}"
            arguments += ["-f", "lavfi", "-t", f"{seconds:.9f}", "-i", silence]
            count += 1
        arguments += ["-i", str(path)]
        count += 1
    order = "".join(f"[{number}:a]" for number in range(count))
    return [*arguments, "-filter_complex", f"{order}concat=n={count}:v=0:a=1"]


if __name__ == "__main__":
    sys.exit(main())

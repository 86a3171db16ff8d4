"""Upload by hook: sends a published file and its sidecar to a server, and acknowledges it.

    hooks:
      on_chunk: [python3, /opt/kiosk/upload.py, "{path}", "{sidecar}", "https://archive.example/in"]

The sidecar goes first, as it does on the disk: whoever sees the audio there finds it described.
When this fails, edgerec runs it again, a little later each time, until it succeeds.
"""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path

PATIENCE_S = 30.0


def main() -> int:
    """Upload the file that the arguments name."""
    path, sidecar, url = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].rstrip("/")
    for file in (sidecar, path):
        with file.open("rb") as body:
            put(f"{url}/{file.name}", body.read())
    # From now on edgerec may delete it when it needs the room, and retries no other hook for it.
    path.with_suffix(".ack").touch()
    print(f"uploaded {path.name}")  # goes into edgerec's log
    return 0


def put(url: str, body: bytes) -> None:
    """Send one file; raises, and so ends the hook with status 1, when the server refuses it."""
    request = urllib.request.Request(url, data=body, method="PUT")
    with urllib.request.urlopen(request, timeout=PATIENCE_S):
        pass


if __name__ == "__main__":
    sys.exit(main())

"""Follow a running kiosk: prints what happens, as it happens, until the service ends.

    python3 follow.py /run/edgerec/control.sock

One JSON object a line comes over the control socket; docs/contract.md says what is in it. This
needs nothing of edgerec, and so can be written in any language.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from typing import Any


def main() -> int:
    """Print a line per event."""
    for event in events(sys.argv[1]):
        name = event.pop("event")
        print(name, " ".join(f"{key}={value}" for key, value in event.items()), flush=True)
    return 0


def events(path: str) -> Iterator[dict[str, Any]]:
    """Yield the service's events."""
    with socket.socket(socket.AF_UNIX) as service:
        service.connect(path)
        service.sendall(b'{"id": 1, "command": "subscribe"}\n')
        for line in service.makefile():
            message = json.loads(line)
            if "event" in message:
                yield message
            elif not message["ok"]:
                raise SystemExit(f"follow: {message['error']['message']}")


if __name__ == "__main__":
    sys.exit(main())

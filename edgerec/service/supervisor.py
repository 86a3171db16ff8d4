"""What does systemd hear of us: readiness and the end."""

from __future__ import annotations

import os


def tell_systemd(state: str) -> None:
    """Send a line of sd_notify(3), such as ``READY=1``; does nothing where systemd did not ask."""
    if "NOTIFY_SOCKET" not in os.environ:
        return
    from systemd import daemon  # only there on Linux, and only needed here

    daemon.notify(state)

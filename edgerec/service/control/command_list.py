"""The commands of a running engine, by name."""

from __future__ import annotations

from edgerec.engine.engine import Engine
from edgerec.service.control.commands import (
    Command,
    feed_command,
    mark_command,
    reload_command,
    session_command,
    status_command,
    tap_command,
)
from edgerec.service.control.subscriptions import subscribe_command
from edgerec.service.reload import Reloader
from edgerec.service.taps import Taps


def commands_of(engine: Engine, reloader: Reloader, taps: Taps) -> dict[str, Command]:
    """Return the commands of a running engine, by name."""
    return {
        "status": status_command(engine.status),
        "start": session_command(engine.start_recording),
        "stop": session_command(engine.stop_recording),
        "pause": session_command(engine.pause),
        "resume": session_command(engine.resume),
        "rotate": session_command(engine.rotate),
        "mark": mark_command(engine.mark),
        "reload": reload_command(reloader.reload),
        "subscribe": subscribe_command(engine.events),
        "feed": feed_command(engine.feeds),
        "tap": tap_command(taps),
    }

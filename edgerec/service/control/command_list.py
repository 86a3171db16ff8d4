"""The commands of a running recorder, by name."""

from __future__ import annotations

from edgerec.engine.recorder import Recorder
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


def commands_of(recorder: Recorder, reloader: Reloader) -> dict[str, Command]:
    """Return the commands of a running recorder, by name."""
    return {
        "status": status_command(recorder.status),
        "start": session_command(recorder.start_recording),
        "stop": session_command(recorder.stop_recording),
        "pause": session_command(recorder.pause),
        "resume": session_command(recorder.resume),
        "rotate": session_command(recorder.rotate),
        "mark": mark_command(recorder.mark),
        "reload": reload_command(reloader.reload),
        "subscribe": subscribe_command(recorder.announcer),
        "feed": feed_command(recorder.feeds),
        "tap": tap_command(recorder.taps),
    }

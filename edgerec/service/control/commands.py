"""The commands of the control socket."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Protocol

from edgerec.audio import STREAMS, TRACKS, TimelineFrame, TrackName
from edgerec.config import ConfigError
from edgerec.engine.changes import Changes
from edgerec.engine.engine import Engine
from edgerec.feeds.source import FeedSource
from edgerec.health.status import Status, to_json
from edgerec.service.control.protocol import (
    Command,
    Result,
    Takeover,
    cut_short,
    refuse_unknown,
)
from edgerec.service.control.subscriptions import subscribe_command
from edgerec.service.reload import Reloader
from edgerec.service.taps import Taps
from edgerec.wire.messages import RefusedError


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


class MarkRequest(Protocol):
    """See `Recorder.mark`."""

    def __call__(self, track: TrackName, at_ns: int, *, speaking: bool) -> TimelineFrame:
        """Mark."""
        ...


def feed_command(feeds: Mapping[TrackName, FeedSource]) -> Command:
    """Return the command that turns its connection into a track's block stream.

    Parameters
    ----------
    feeds
        The tracks with `source: feed`.
    """

    def feed(args: Mapping[str, object]) -> Takeover:
        refuse_unknown(args, ("track",))
        track = _track(args)
        source = feeds.get(track)
        if source is None:
            raise RefusedError(
                "no_feed",
                f"the {track} track is not fed by applications",
                f"set tracks.{track}.source to feed",
            )
        return Takeover(source.offer)

    return feed


def tap_command(taps: Taps) -> Command:
    """Return the command that turns its connection into a block stream of live audio."""

    def tap(args: Mapping[str, object]) -> Takeover:
        refuse_unknown(args, ("track",))
        chosen = next((stream for stream in STREAMS if args.get("track") == stream), None)
        if chosen is None:
            told = f"track is {cut_short(args.get('track'))}"
            raise RefusedError("bad_args", told, f"use {', '.join(STREAMS)}")

        def take(connection: socket.socket, _received: bytes, reply: bytes) -> None:
            taps.offer(chosen, connection, reply)

        return Takeover(take)

    return tap


def session_command(ask: Callable[[], bool]) -> Command:
    """Return the command that asks the recorder for something.

    Parameters
    ----------
    ask
        Returns whether that changes anything; raises `RefusedError` where it can't be done.
    """

    def session(args: Mapping[str, object]) -> Result:
        refuse_unknown(args, ())
        return {"changed": ask()}

    return session


def mark_command(mark: MarkRequest) -> Command:
    """Return the command that marks where a turn begins or ends."""

    def marked(args: Mapping[str, object]) -> Result:
        refuse_unknown(args, ("track", "state", "at_ns"))
        track = _track(args)
        state, at_ns = args.get("state"), args.get("at_ns", 0)
        if state not in ("start", "stop"):
            raise RefusedError("bad_args", f"state is {cut_short(state)}", "use start or stop")
        if isinstance(at_ns, bool) or not isinstance(at_ns, int) or not 0 <= at_ns < 1 << 63:
            hint = "give nanoseconds on CLOCK_MONOTONIC, or 0 for now"
            raise RefusedError("bad_args", f"at_ns is {cut_short(at_ns)}", hint)
        return {"frame": mark(track, at_ns, speaking=state == "start")}

    return marked


def reload_command(reload: Callable[[], Changes]) -> Command:
    """Return the command that has the configuration read again."""

    def read_again(args: Mapping[str, object]) -> Result:
        refuse_unknown(args, ())
        try:
            changes = reload()
        except ConfigError as error:
            hint = "correct it and reload again; the previous configuration stays in effect"
            raise RefusedError("bad_config", str(error), hint) from error
        return {
            "changed": list(changes.paths),
            "reopened": list(changes.sources),
            "new_session": changes.new_session,
        }

    return read_again


def status_command(status_of: Callable[[], Status]) -> Command:
    """Return the command that reports the service's status."""

    def status(args: Mapping[str, object]) -> Result:
        refuse_unknown(args, ())
        return to_json(status_of())

    return status


def _track(args: Mapping[str, object]) -> TrackName:
    for track in TRACKS:
        if args.get("track") == track:
            return track
    told = f"track is {cut_short(args.get('track'))}"
    raise RefusedError("bad_args", told, f"use {' or '.join(TRACKS)}")

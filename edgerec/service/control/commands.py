"""The commands of the control socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Literal, Protocol

from edgerec.audio import StreamName, TimelineFrame, TrackName
from edgerec.config import ConfigError
from edgerec.engine.changes import Changes
from edgerec.engine.engine import Engine
from edgerec.feeds.source import FeedSource
from edgerec.health.status import Status, to_json
from edgerec.service.control.protocol import (
    Command,
    Result,
    Stream,
    Takeover,
    arguments,
)
from edgerec.service.control.subscriptions import subscribe_command
from edgerec.service.taps import Taps
from edgerec.validation.constraints import Between
from edgerec.wire.messages import RefusedError


def commands_of(engine: Engine, reload: Callable[[], Changes], taps: Taps) -> dict[str, Command]:
    """Return the commands of a running engine, by name."""
    return {
        "status": status_command(engine.status),
        "start": session_command(engine.start_recording),
        "stop": session_command(engine.stop_recording),
        "pause": session_command(engine.pause),
        "resume": session_command(engine.resume),
        "rotate": session_command(engine.rotate),
        "mark": mark_command(engine.mark),
        "clear": clear_command(engine),
        "played": played_command(engine),
        "reload": reload_command(reload),
        "subscribe": subscribe_command(engine.events),
        "feed": feed_command(engine.feeds),
        "tap": tap_command(taps),
    }


@dataclass(frozen=True, slots=True)
class NoArguments:
    """A command without arguments."""


@dataclass(frozen=True, slots=True)
class FeedArguments:
    """The track to feed."""

    track: TrackName


@dataclass(frozen=True, slots=True)
class TapArguments:
    """The stream to tap."""

    track: StreamName


@dataclass(frozen=True, slots=True)
class MarkArguments:
    """The turn that begins or ends."""

    track: TrackName
    state: Literal["start", "stop"]
    at_ns: Annotated[int, Between(0, (1 << 63) - 1, "ns on CLOCK_MONOTONIC, 0 for now")] = 0


@dataclass(frozen=True, slots=True)
class ClearArguments:
    """The track whose queue is dropped, and from when on."""

    track: TrackName
    at_ns: Annotated[int, Between(0, (1 << 63) - 1, "ns on CLOCK_MONOTONIC, 0 for now")] = 0


@dataclass(frozen=True, slots=True)
class PlayedArguments:
    """Frames that were pushed into a track, by position; by default all."""

    track: TrackName
    start: Annotated[int, Between(0, (1 << 62), "frames")] = 0
    stop: Annotated[int, Between(0, (1 << 62), "frames")] | None = None


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
        track = arguments(FeedArguments, args).track
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

    def tap(args: Mapping[str, object]) -> Stream:
        chosen = arguments(TapArguments, args).track
        return Stream(partial(taps.open, chosen), is_audio=True)

    return tap


def session_command(ask: Callable[[], bool]) -> Command:
    """Return the command that asks the recorder for something.

    Parameters
    ----------
    ask
        Returns whether that changes anything; raises `RefusedError` where it can't be done.
    """

    def session(args: Mapping[str, object]) -> Result:
        arguments(NoArguments, args)
        return {"changed": ask()}

    return session


def mark_command(mark: MarkRequest) -> Command:
    """Return the command that marks where a turn begins or ends."""

    def marked(args: Mapping[str, object]) -> Result:
        wanted = arguments(MarkArguments, args)
        return {"frame": mark(wanted.track, wanted.at_ns, speaking=wanted.state == "start")}

    return marked


def clear_command(engine: Engine) -> Command:
    """Return the command that drops what was pushed into a track and is not played."""

    def cleared(args: Mapping[str, object]) -> Result:
        wanted = arguments(ClearArguments, args)
        return asdict(engine.clear(wanted.track, wanted.at_ns or None))

    return cleared


def played_command(engine: Engine) -> Command:
    """Return the command that says what was heard of what was pushed into a track."""

    def played(args: Mapping[str, object]) -> Result:
        wanted = arguments(PlayedArguments, args)
        return asdict(engine.played(wanted.track, wanted.start, wanted.stop))

    return played


def reload_command(reload: Callable[[], Changes]) -> Command:
    """Return the command that has the configuration read again."""

    def read_again(args: Mapping[str, object]) -> Result:
        arguments(NoArguments, args)
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
        arguments(NoArguments, args)
        return to_json(status_of())

    return status

"""The current source of each track: a capture child or a feed."""

from __future__ import annotations

from collections.abc import Mapping

from edgerec.audio import SourceState, TrackName
from edgerec.capture.child import ChildSource
from edgerec.clock import Clock
from edgerec.config import Config
from edgerec.engine import build
from edgerec.feeds.source import FeedSource

AnySource = ChildSource | FeedSource


class Sources:
    """The sources of a configuration, which belong to the recorder thread; the rest for any."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._clock = clock
        self.feeds: dict[TrackName, FeedSource] = build.build_feeds(config, clock)
        """Feeds of the tracks that applications push into."""
        self.children: dict[TrackName, ChildSource] = build.build_children(config, clock.now_ns())
        """Capture children of the tracks that have a device."""
        self.by_track: Mapping[TrackName, AnySource] = {**self.children, **self.feeds}
        """All sources by track; replaced as a whole."""

    def states(self) -> dict[TrackName, SourceState]:
        """Return the state of each source."""
        return {name: source.state for name, source in self.by_track.items()}

    def renew(self, config: Config, name: TrackName) -> AnySource | None:
        """Return a track's source as it is configured now, to take the place of the one before."""
        track = build.track_configs(config).get(name)
        self.feeds.pop(name, None)
        self.children.pop(name, None)
        others = {other: source for other, source in self.by_track.items() if other != name}
        if track is None:
            self.by_track = others
            return None
        source: AnySource
        if track.source == "feed":
            source = self.feeds[name] = FeedSource(name, self._clock)
        else:
            source = self.children[name] = build.build_child(config, name, self._clock.now_ns())
        self.by_track = {**others, name: source}
        return source

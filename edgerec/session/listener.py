"""Whatever takes in a recording as it is captured: files, turns, meters, live readers.

The recorder thread calls every listener in turn, so that none may wait.
"""

from __future__ import annotations

from edgerec.audio import Delivery, TrackName
from edgerec.session.timeline import SessionTimeline


class Listener:
    """Hears nothing; a subclass overrides what it wants to hear. Methods must not wait or raise."""

    @property
    def has_room(self) -> bool:
        """Whether another session may begin. For any thread."""
        return True

    @property
    def is_live(self) -> bool:
        """Whether audio is wanted as soon as it is delivered. For any thread."""
        return False

    def begun(self, timeline: SessionTimeline) -> None:
        """Take in that a session has begun."""

    def stopped(self, at_ns: int) -> None:
        """Take in that a session was asked to end at an instant, and none follows at once."""

    def delivered(self, track: TrackName, delivery: Delivery) -> None:
        """Take in what a device has delivered, whether or not a session is recorded."""

    def committed(self, timeline: SessionTimeline) -> None:
        """Take in that a session's timeline may be longer, or has ended."""

    def over(self) -> None:
        """Take in that nothing more is captured."""


class LiveReaders(Listener):
    """The live readers of a recorder that has none; `service.taps.Taps` is the one that has."""

    count: int = 0
    """Number of readers."""
    lost_blocks: int = 0
    """Blocks that found the queue full: readers see `first_frame` jump."""

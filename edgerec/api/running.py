"""The service inside a program while its devices are open, with its handlers and feeds."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from edgerec.api.dispatcher import Dispatcher, HandlerCounts
from edgerec.api.feeding import Feeding
from edgerec.api.held_file import HeldFiles
from edgerec.api.relay import Handlers, Relay
from edgerec.audio import TrackName
from edgerec.clock import Clock
from edgerec.config import Config
from edgerec.engine.recorder import Recorder as Service
from edgerec.session.events import Announcer, Subscription


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Counts of events so far, by outcome."""

    handlers: HandlerCounts
    dropped: int
    """Number of events that found 1000 others waiting."""


@dataclass(frozen=True, slots=True)
class Running:
    """The service, with the dispatcher of the program's handlers and the feeds of its audio."""

    service: Service
    dispatcher: Dispatcher
    subscription: Subscription
    feedings: dict[TrackName, Feeding]

    @property
    def counts(self) -> EventCounts:
        """Counts of events so far, by outcome."""
        return EventCounts(self.dispatcher.counts, self.subscription.dropped)

    def close(self) -> None:
        """End the session, release the devices, and call every handler.

        Raises
        ------
        Exception
            The failure that ended the recording.
        """
        try:
            self.service.stop()
            self.service.wait()
        finally:
            for feeding in self.feedings.values():
                feeding.close()
            self.dispatcher.finish()


def open_devices(
    recorder: object,
    config: Config,
    handlers: Handlers,
    held: HeldFiles,
    handler_seconds: float,
    clock: Clock | None,
) -> Running:
    """Start the service; its announcements go to the handlers.

    Parameters
    ----------
    recorder
        The first argument of every handler.

    Raises
    ------
    StoreError
        The storage root can't be used, or another process holds it.
    """
    announcer = Announcer()
    came = threading.Event()
    subscription = announcer.subscribe(notify=came.set)
    stereo = config.recording.num_channels == 2
    relay = Relay(recorder, handlers, subscription, held, stereo=stereo)
    dispatcher = Dispatcher(relay.next, handler_seconds, came)
    try:
        service = Service(config, clock=clock, announcer=announcer, on_published=held.hold)
    except BaseException:
        dispatcher.finish()
        raise
    feedings = {track: Feeding(source, config.kiosk) for track, source in service.feeds.items()}
    return Running(service, dispatcher, subscription, feedings)

"""The service inside a program while its devices are open, with its handlers and feeds."""

from __future__ import annotations

from dataclasses import dataclass

from edgerec.api.dispatcher import Dispatcher
from edgerec.api.feeding import Feeding
from edgerec.api.handlers import Relay
from edgerec.audio import TrackName
from edgerec.clock import Clock, SystemClock
from edgerec.config import Config
from edgerec.engine.build import Surroundings
from edgerec.engine.engine import Engine
from edgerec.service.hooks import Hooks
from edgerec.session.events import EventBus
from edgerec.session.threads import Threads


@dataclass(frozen=True, slots=True)
class Running:
    """An engine with its hooks, the dispatcher of the program's handlers, and the feeds."""

    engine: Engine
    hooks: Hooks
    dispatcher: Dispatcher
    feedings: dict[TrackName, Feeding]

    def release(self) -> None:
        """End the session, publish everything, and release the devices.

        Raises
        ------
        Exception
            The failure that ended the recording.
        """
        self.engine.stop()
        self.engine.wait()

    def finish(self) -> None:
        """Call every handler and run the hooks, once the devices are released."""
        self.hooks.close()
        for feeding in self.feedings.values():
            feeding.close()
        self.dispatcher.finish()


def open_devices(
    config: Config, relay: Relay, handler_seconds: float, clock: Clock | None
) -> Running:
    """Start the engine; its events go to the handlers.

    Raises
    ------
    StoreError
        The storage root can't be used, or another process holds it.
    """
    events, threads = EventBus(), Threads()
    clock = clock or SystemClock(trust_rtc=config.storage.trust_rtc)
    dispatcher = Dispatcher(events, relay.calls, handler_seconds)
    hooks = Hooks(config.hooks, clock, events, make_thread=threads.make)
    hooks.start()
    around = Surroundings(
        events, threads, hook_counts=lambda: hooks.counts, on_published=relay.held.hold
    )
    try:
        engine = Engine(config, clock=clock, around=around)
    except BaseException:
        hooks.close()
        dispatcher.finish()
        raise
    feedings = {track: Feeding(source, config.kiosk) for track, source in engine.feeds.items()}
    return Running(engine, hooks, dispatcher, feedings)

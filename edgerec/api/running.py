"""The service inside a program while its devices are open, with its handlers, feeds and taps."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

from edgerec.api.dispatcher import Dispatcher
from edgerec.api.feeding import Feeding
from edgerec.api.handlers import Relay
from edgerec.audio import TrackName
from edgerec.clock import Clock, SystemClock
from edgerec.config import Config
from edgerec.engine.build import Surroundings
from edgerec.engine.changes import Changes
from edgerec.engine.engine import Engine
from edgerec.service.control.commands import commands_of
from edgerec.service.control.server import Control
from edgerec.service.control.socket import ControlSocket, socket_to_make
from edgerec.service.hooks import Hooks
from edgerec.service.taps import Taps
from edgerec.session.events import EventBus
from edgerec.session.threads import Threads
from edgerec.wire.messages import RefusedError


@dataclass(frozen=True, slots=True)
class Running:
    """An engine with all that surrounds it in a program."""

    engine: Engine
    clock: Clock
    hooks: Hooks
    dispatcher: Dispatcher
    feedings: dict[TrackName, Feeding]
    taps: Taps
    control: ExitStack
    """Closes the control socket, if there is one."""

    def release(self) -> None:
        """End the session, publish everything, and release the devices.

        Raises
        ------
        Exception
            The failure that ended the recording.
        """
        try:
            self.engine.stop()
            self.engine.wait()
        finally:
            self.control.close()

    def finish(self) -> None:
        """Call every handler and run the hooks, once the devices are released."""
        self.hooks.close()
        for feeding in self.feedings.values():
            feeding.close()
        self.dispatcher.finish()


def open_devices(
    config: Config, relay: Relay, handler_seconds: float, clock: Clock | None, *, control: bool
) -> Running:
    """Start the engine; its events go to the handlers.

    Parameters
    ----------
    control
        Whether commands such as `edgerec status` reach it by a control socket.

    Raises
    ------
    StoreError
        The storage root can't be used, or another process holds it.
    ControlSocketError
        The control socket can't be made.
    """
    events, threads = EventBus(), Threads()
    clock = clock or SystemClock(trust_rtc=config.storage.trust_rtc)
    taps = Taps(clock)
    serving = ExitStack()
    with ExitStack() as undo:
        listening = undo.enter_context(_socket(config)) if control else None
        dispatcher = Dispatcher(events, relay.calls, handler_seconds)
        undo.callback(dispatcher.finish)
        hooks = Hooks(config.hooks, clock, events, make_thread=threads.make)
        hooks.start()
        undo.callback(hooks.close)
        around = Surroundings(
            events, threads, taps, hook_counts=lambda: hooks.counts, on_published=relay.held.hold
        )
        engine = Engine(config, clock=clock, around=around)
        undo.pop_all()
    if listening is not None:
        serving.push(listening)
        commands = commands_of(engine, _refuse_reload, taps)
        serving.enter_context(Control(listening, commands, clock, make_thread=threads.make))
    feedings = {track: Feeding(source, config.kiosk) for track, source in engine.feeds.items()}
    return Running(engine, clock, hooks, dispatcher, feedings, taps, serving)


def _socket(config: Config) -> ControlSocket:
    return ControlSocket(config.control.socket or socket_to_make(), config.control.group)


def _refuse_reload() -> Changes:
    told = "the configuration is the program's own"
    raise RefusedError("not_possible", told, "restart the program with another one")

"""Run the service in the foreground: what systemd starts."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import signal
from contextlib import ExitStack

from edgerec.cli.logs import log_to_journal
from edgerec.cli.options import add_config
from edgerec.cli.output import note
from edgerec.cli.process import Exit, Interruption
from edgerec.clock import SystemClock
from edgerec.config import Config, file_to_record_by, load_config, shared_root
from edgerec.engine.build import Surroundings
from edgerec.engine.engine import Engine
from edgerec.service.control.commands import commands_of
from edgerec.service.control.server import Control
from edgerec.service.control.socket import ControlSocket, ControlSocketError, socket_to_make
from edgerec.service.hooks import Hooks
from edgerec.service.metrics import ConfiguredMetrics
from edgerec.service.reload import Reloader
from edgerec.service.taps import Taps
from edgerec.service.watchdog import Supervisor, tell_systemd, watchdog_s
from edgerec.session.events import EventBus
from edgerec.session.threads import Threads
from edgerec.store.disk import StoreError
from edgerec.store.publish import FilePublished

log = logging.getLogger(__name__)

HELP = """Record, as a service in the foreground. SIGTERM or Ctrl-C finishes and publishes every
open file and ends with status 0; SIGHUP reloads the configuration."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Record until a signal ends it."""
    log_to_journal()
    faulthandler.enable()  # systemd's watchdog ends us by SIGABRT: the log says where we hung
    file = file_to_record_by(args.config)
    config = load_config(file)
    interruption = Interruption()
    for problem in shared_root(config):
        log.warning("the storage root is shared: %s", problem)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what is read now is not read again for it
    clock = SystemClock(trust_rtc=config.storage.trust_rtc)
    events, threads = EventBus(), Threads()
    make_thread = threads.make
    with ExitStack() as opened:
        try:
            control_socket = _control_socket(config)
            if control_socket is not None:
                opened.enter_context(control_socket)
            hooks = opened.enter_context(
                Hooks(config.hooks, clock, events, make_thread=make_thread)
            )
            taps = Taps(clock)
            around = Surroundings(events, threads, taps, lambda: hooks.counts, _log_published)
            engine = opened.enter_context(Engine(config, clock=clock, around=around))
        except (ControlSocketError, StoreError) as error:
            note(error)
            return Exit.FAILED
        metrics = opened.enter_context(ConfiguredMetrics(engine.status, make_thread=make_thread))
        metrics.follow(config.metrics.textfile)
        reloader = opened.enter_context(
            Reloader(
                engine,
                file,
                then=(
                    lambda config: hooks.configure(config.hooks),
                    lambda config: metrics.follow(config.metrics.textfile),
                ),
                make_thread=make_thread,
            )
        )
        engine.include(lambda: reloader.reasons)
        signal.signal(signal.SIGHUP, lambda _number, _frame: reloader.ask())
        if control_socket is not None:
            commands = commands_of(engine, reloader.reload, taps)
            opened.enter_context(Control(control_socket, commands, clock, make_thread=make_thread))
        opened.enter_context(
            Supervisor(
                engine.vitals,
                clock,
                stall_s=config.storage.stall_seconds,
                notify=tell_systemd,
                watchdog_s=watchdog_s(),
                make_thread=make_thread,
            )
        )
        log.info("recording root=%s kiosk=%s", config.storage.root, config.kiosk)
        if not config.recording.auto_start:
            log.info("waiting for a start, as recording.auto_start is false")
        return _wait(engine, interruption)


def _control_socket(config: Config) -> ControlSocket | None:
    """Return the control socket; None where there can't be one, and no track depends on it.

    Recording must not depend on the control socket: without it, log and carry on.
    """
    try:
        made = ControlSocket(config.control.socket or socket_to_make(), config.control.group)
    except ControlSocketError as error:
        if "feed" in (config.tracks.user.source, config.tracks.bot.source):
            raise
        log.error("no command can reach the service why=%r", str(error))  # noqa: TRY400
        return None
    log.info("listening socket=%s", made.path)
    return made


def _wait(engine: Engine, interruption: Interruption) -> int:
    """Wait until the recording has ended, by a signal or a fault."""

    def stop(number: signal.Signals) -> None:
        log.info("stopping signal=%s", number.name)
        tell_systemd("STOPPING=1")
        engine.stop()

    interruption.stops(stop)
    try:
        engine.wait()
    except StoreError as error:
        log.critical("recording ended why=%r", str(error))
        return Exit.FAILED
    return Exit.DONE


def _log_published(published: FilePublished) -> None:
    log.info(
        "published kind=%s file=%s frames=%d end=%s",
        published.kind,
        published.path.name,
        published.frames,
        published.end_reason,
    )

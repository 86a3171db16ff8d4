"""A recorder on devices that deliver as fast as they are asked, in simulated time."""

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

from edgerec.engine.build import Surroundings
from edgerec.engine.changes import changes_between
from edgerec.engine.engine import Engine
from edgerec.engine.plan import Plan
from edgerec.feeds.source import FeedSource
from edgerec.service.control.server import Control
from edgerec.service.control.socket import ControlSocket
from edgerec.service.hooks import Hooks
from edgerec.service.taps import Taps
from edgerec.session.events import EventBus
from edgerec.session.threads import Threads
from tests.rigs.fakes import FakeClock, FakeSource, S, config
from tests.rigs.made_recordings import chunks
from tests.rigs.waiting import PATIENCE_S, wait_for

SECTIONS = ("tracks", "turns", "retention", "hooks")


class RunningClock(FakeClock):
    """A clock on which a tenth of a second passes whenever the recorder thread looks at it."""

    def now_ns(self):
        if threading.current_thread().name == "recorder":
            self.raw_ns += S // 10
        return self.raw_ns


class PacedClock(FakeClock):
    """A clock on which time passes when the test lets it, as fast as the recorder thread goes."""

    def __init__(self):
        super().__init__()
        self.until_ns = self.raw_ns

    def now_ns(self):
        if threading.current_thread().name == "recorder":
            if self.raw_ns < self.until_ns:
                self.raw_ns += S // 10
            else:
                time.sleep(0.001)
        return self.raw_ns

    def let_pass(self, seconds):
        self.until_ns += round(seconds * S)
        wait_for(lambda: self.raw_ns >= self.until_ns)


class EagerSource(FakeSource):
    """A device with a pipe that always has something in it: the loop never waits."""

    def __init__(self, handovers):
        super().__init__(handovers)
        self._reader, writer = os.pipe()
        os.close(writer)

    def fileno(self):
        return self._reader

    def close(self):
        super().close()
        os.close(self._reader)


def opening(open_device):
    """What opens an engine's sources: a device, given its track and the time, as a test says."""

    def open_sources(plans, clock):
        now_ns = clock.now_ns()
        return {
            track: FeedSource(track, clock) if plan.is_feed else open_device(track, now_ns)
            for track, plan in plans.items()
        }

    return open_sources


def handed(sources, **around):
    """Surroundings of an engine that records these sources, whatever its configuration says."""
    return Surroundings(open_sources=opening(lambda track, now_ns: sources[track]), **around)


@contextmanager
def surrounded(settings, clock, on_published=lambda published: None, **more):
    """Yield what the service has around an engine, with a control socket and hooks."""
    events, threads = EventBus(), Threads()
    with (
        ControlSocket(settings.storage.root.with_suffix(".sock")) as listening,
        Control(listening, {}, clock, make_thread=threads.make),
        Hooks(settings.hooks, clock, events, make_thread=threads.make) as hooks,
    ):
        taps = Taps(clock)
        yield Surroundings(events, threads, taps, lambda: hooks.counts, on_published, **more)


class Running:
    """A recorder whose time is the test's, what it publishes and what it announces.

    A context manager that ends it on leaving, however time stands.
    """

    def __init__(self, root, open_device, **recording):
        self.root = root
        self.clock = PacedClock()
        self.published = []
        events = EventBus()
        self.reader = events.subscribe()
        self.recorder = Engine(
            config(root, **recording),
            clock=self.clock,
            around=Surroundings(
                events, on_published=self.published.append, open_sources=opening(open_device)
            ),
        )

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.clock.until_ns = 10**18
        self.recorder.__exit__(*why)

    def let_pass(self, seconds):
        """Let time pass, no more of it at once than the history holds."""
        while seconds > 0:
            self.clock.let_pass(min(seconds, 5.0))
            seconds -= 5.0

    def finish(self):
        """End the session; return what is then published."""
        self.recorder.stop_recording()
        self.let_pass(3.0)
        assert self.recorder.wait_until_stopped(PATIENCE_S)
        return chunks(self.published)

    def events(self):
        events = []
        while event := self.reader.take():
            events.append(event)
        assert self.reader.dropped == 0
        return events


def begun(rig):
    """Let a session begin, and be written."""
    rig.let_pass(3.0)
    wait_for(lambda: list((rig.root / ".work").iterdir()))


def reload(rig, **changed):
    """Apply a change of the recording section, or of whole sections."""
    now = rig.recorder.config
    sections = {name: changed.pop(name) for name in SECTIONS if name in changed}
    new = Plan.of(replace(now, recording=replace(now.recording, **changed), **sections))
    changes = changes_between(rig.recorder.plan, new)
    assert changes.refused == ()
    rig.recorder.apply(new, changes)
    return changes


def wait_for_end(recorder):
    """Wait as `Recorder.wait` does, but not for ever."""
    failure = []

    def target():
        try:
            recorder.wait()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "the recorder did not end"
    if failure:
        raise failure[0]

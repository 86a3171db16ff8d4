"""A writer loop on a history that a test fills."""

import numpy as np

from edgerec.audio import TrackReport
from edgerec.config import Config, StorageConfig
from edgerec.engine.housekeeping import Housekeeping
from edgerec.engine.plan import Current, Plan
from edgerec.engine.writer_loop import WriterLoop
from edgerec.session.timeline import SessionTimeline
from edgerec.store.records.layout import Layout
from edgerec.store.writing.recording import Recording, RecordingForm
from edgerec.store.writing.rotation import Cutting
from edgerec.sync.history import History
from tests.rigs.fakes import FakeClock
from tests.rigs.made_recordings import FOREVER, audio
from tests.rigs.turn_rig import RATE, stamp_of

RING_S = 30
SYNC_S = 1.0


class Rig:
    """A writer loop on a history that the test fills, and a real storage root."""

    def __init__(self, root, ring_s=RING_S, sync_s=SYNC_S):
        self.root = root
        self.sync_s = sync_s
        self.clock = FakeClock()
        self.published = []
        self.opened = 0
        self.history = History(round(ring_s * RATE))
        reports = {"user": TrackReport("mic"), "bot": TrackReport("loopback")}
        self.timeline = SessionTimeline(RATE, self.history, stamp_of, reports)
        self.loop = self.writer_loop()
        self.recorded = np.zeros((2, 0), np.int16)

    def writer_loop(self, *chores, files=None):
        """A writer loop whose files the rig opens, or others."""
        plan = Plan.of(Config(storage=StorageConfig(sync_seconds=self.sync_s)))
        house = Housekeeping(chores)
        return WriterLoop(Current(plan), files or self, self.clock, house, lambda event: None)

    def open(self, plan, timeline):
        self.opened += 1
        form = RecordingForm(
            Layout(RATE, num_channels=2), Cutting(chunk_frames=None, max_file_frames=FOREVER)
        )
        session = self.root.open_session("k1")
        self.recording = Recording(
            self.root, session, form, timeline.stamp_of, self.published.append
        )
        return self.recording

    def recover(self):
        """Recovery can do more than before."""

    def record(self, seconds):
        """Let the recorder thread commit so much, in the steps that it takes."""
        for _ in range(round(seconds)):
            self.commit(RATE)

    def commit(self, frames):
        rng = np.random.default_rng(self.history.committed)
        pcm = rng.integers(-9_000, 9_000, (2, frames), np.int16)
        for track in range(2):
            self.history.append(track, pcm[track])
        self.history.commit(self.history.end(0))
        self.recorded = np.concatenate((self.recorded, pcm), axis=1)

    def wakes(self):
        """Whether what is committed by now is worth a step of the thread."""
        self.loop.committed(self.timeline)
        woken = self.loop._awake.is_set()
        self.loop._awake.clear()
        return woken

    def stop(self):
        self.timeline.stop = self.history.committed


def samples(published):
    return np.frombuffer(audio(published.path), "<i2").reshape(-1, 2).T

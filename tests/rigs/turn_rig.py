"""Sessions with turns for the tests: what is said as strings, and a detector that hears it all."""

import numpy as np
import soundfile

from edgerec.audio import TRACKS, EchoReport, Stamp, TimelineFrame, TrackReport
from edgerec.engine.copying import write_committed, write_turns
from edgerec.engine.session_turns import SessionTurns
from edgerec.session.timeline import SessionTimeline
from edgerec.session.turn_board import SpeechGate
from edgerec.store.disk import StoreError
from edgerec.store.records.layout import Layout
from edgerec.store.records.naming import Session
from edgerec.store.writing.recording import Recording, RecordingForm
from edgerec.store.writing.rotation import Cutting
from edgerec.sync.history import History
from edgerec.sync.synchronizer import history_frames
from edgerec.turns.segmenter import Judged, TurnRules
from edgerec.turns.tracker import TurnTracker
from tests.rigs.fakes import S

RATE = 8_000
LETTER = RATE // 10
"""Frames that a letter of a drawn conversation stands for."""
LOUD = 1_000
RULES = TurnRules(
    pre_roll=2 * LETTER, hangover=3 * LETTER, min_speech=2 * LETTER, max_turn=100 * LETTER
)
PATIENCE = 50 * LETTER  # of the writer with a turn thread that decides nothing
USER = "....SSSSS.......SSS.....SSSSSS......."
BOT = ".SSSSSS......SSSS..........SSSS......"
SESSION = Session("9f3a01c2", 41, "00c0ffee", "k1")


def stamp_of(frame):
    since_ns = frame * S // RATE
    return Stamp(1_795_342_500 * S + since_ns, True, 0.5, 1_000 * S + since_ns, "boot")


def conversation(user, bot, seed=0):
    """Samples of both tracks: noise, loud where the letter is `S`; no two frames are alike."""
    rng = np.random.default_rng(seed)
    frames = len(user) * LETTER
    pcm = rng.integers(1, LOUD // 2, (2, frames), np.int16)
    for track, drawn in enumerate((user, bot)):
        for index, letter in enumerate(drawn):
            if letter == "S":
                piece = slice(index * LETTER, (index + 1) * LETTER)
                pcm[track, piece] = rng.integers(LOUD, 30_000, LETTER, np.int16)
    return pcm


class LoudActivity:
    """Whatever is loud is speech, to the letter; a letter is judged when the next one has come."""

    echo = EchoReport(62.0, -9.5)

    def __init__(self):
        self._judged = TimelineFrame(0)
        self._position = TimelineFrame(0)
        self._loud = np.zeros((2, 0), bool)

    def push(self, span):
        assert span.start == self._position
        self._position = TimelineFrame(span.start + span.frames)
        self._loud = np.concatenate((self._loud, np.abs(span.pcm) >= LOUD), axis=1)
        return self._judge(self._loud.shape[1] - LETTER)

    def skip_to(self, frame):
        judged = self.flush()
        judged += [Judged(track, self._judged, frame, speech=False) for track in TRACKS]
        self._judged = self._position = frame
        return judged

    def flush(self):
        return self._judge(self._loud.shape[1])

    def _judge(self, frames):
        judged = []
        while frames > 0:
            length = min(LETTER - self._judged % LETTER, frames)
            stop = TimelineFrame(self._judged + length)
            for index, track in enumerate(TRACKS):
                speech = bool(self._loud[index, :length].any())
                judged.append(Judged(track, self._judged, stop, speech))
            self._loud = self._loud[:, length:]
            self._judged = stop
            frames -= length
        return judged


class TurnRig:
    """A session whose audio the test commits: its turns found and written, in one thread."""

    def __init__(
        self,
        root,
        *,
        layout=None,
        cutting=None,
        rules=RULES,
        keep_s=30.0,
        gate=None,
        turn_audio=True,
    ):
        self.root = root
        self.published = []
        self.rules = rules
        self.history = History(history_frames(RATE, keep_s))
        reports = {"user": TrackReport("mic"), "bot": TrackReport("loopback")}
        self.timeline = SessionTimeline(RATE, self.history, stamp_of, reports)
        self.turns = SessionTurns(
            self.timeline, LoudActivity, TurnTracker(rules, yields=4 * LETTER), gate
        )
        self.timeline.turns, self.timeline.gate = self.turns.board, gate
        self.recording = Recording(
            root,
            SESSION,
            RecordingForm(
                layout or Layout(RATE, num_channels=2),
                cutting or Cutting(chunk_frames=7 * LETTER, max_file_frames=10**9),
                turn_audio=turn_audio,
            ),
            stamp_of,
            self.published.append,
        )

    def commit(self, pcm, reasons=None):
        """Let the recorder thread commit these frames, (tracks, frames)."""
        for track in range(2):
            self.history.append(track, pcm[track])
        if reasons is not None:
            place = slice(self.history.committed, self.history.end(0))
            self.history._reasons[:, place] = reasons
        self.history.commit(self.history.end(0))

    def find(self):
        """Let the turn thread judge what is committed."""
        self.turns.advance()

    def write(self):
        """Let the writer thread write what is known."""
        write_committed(self.recording, self.timeline)
        write_turns(self.recording, self.timeline, self.turns.board, last=False)
        self.recording.publish_due()

    def run(self, pcm, step=2 * LETTER, sync_every=None):
        """Commit, find and write all of it step by step."""
        for count, start in enumerate(range(0, pcm.shape[1], step), start=1):
            self.commit(pcm[:, start : start + step])
            self.find()
            self.write()
            if sync_every and count % sync_every == 0:
                self.recording.sync()

    def finish(self):
        """End the session here."""
        if self.timeline.stop is None:
            self.timeline.stop = self.history.committed
            self.find()
        return self.finish_writing()

    def finish_writing(self):
        """Write the end, once more if the disk has failed."""
        write_committed(self.recording, self.timeline, last=True)
        write_turns(self.recording, self.timeline, self.turns.board, last=True)
        self.recording.finish("stop")
        return self.published


def run_through_failures(rig, pcm):
    """Record like the writer thread does when the disk fails now and then."""
    failed = False
    step = 2 * LETTER
    for start in range(0, pcm.shape[1], step):
        rig.commit(pcm[:, start : start + step])
        rig.find()
        try:
            if failed:
                rig.recording.resume()
            rig.write()
            rig.recording.sync()
            failed = False
        except StoreError:
            failed = True
    for _ in range(3):
        try:
            if failed:
                rig.recording.resume()
            return rig.finish()
        except StoreError:
            failed = True
    raise AssertionError("the disk fails no more")


def gate_of(patience=PATIENCE, reach=10_000_000):
    return SpeechGate(patience, reach)


def turn_files(published, what=None):
    return [one for one in published if one.kind == "turn" and what in (None, one.what)]


def samples(path):
    return soundfile.read(path, dtype="int16", always_2d=True)[0]


def assert_views_of(published, pcm, *, exact=True):
    """Every turn holds, of its own track, the frames that the chunks hold."""
    chunks = np.zeros_like(pcm)
    there = np.zeros(pcm.shape[1], bool)
    for one in published:
        if one.what == "chunk":
            span = slice(one.start_frame, one.start_frame + one.frames)
            chunks[:, span], there[span] = samples(one.path).T, True
    turns = turn_files(published)
    for turn in turns:
        held = samples(turn.path)
        track = ("turn-user", "turn-bot").index(turn.what)
        assert held.shape == (turn.frames, 1)
        if exact:
            span = slice(turn.start_frame, turn.start_frame + turn.frames)
            assert np.array_equal(held[:, 0], pcm[track, span])
            assert np.array_equal(held[there[span], 0], chunks[track, span][there[span]])
    return turns

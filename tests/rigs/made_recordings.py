"""Made-up sessions for the tests of the store: stamps, spans, and the recording of a stream."""

import itertools
import json
from pathlib import Path

import numpy as np

from edgerec.audio import EchoReport, GapReason, Span, Stamp, TimelineFrame, TrackReport
from edgerec.store.records.layout import Layout
from edgerec.store.records.naming import Session
from edgerec.store.root import StorageRoot
from edgerec.store.writing.recording import Recording, RecordingForm
from edgerec.store.writing.rotation import Cutting
from edgerec.store.writing.wav import HEADER_BYTES

RATE = 1000
"""Hz: a frame is a millisecond, so that stamps are easily read."""
START_UTC_NS = 1_795_342_500_123_456_789  # 2026-11-22T10:15:00.123456789Z
FOREVER = 10**9  # frames: a limit that no test reaches
SESSION = Session("9f3a01c2", 41, "00c0ffee", "k1")
REPORTS = {
    "user": TrackReport("mic", 31.25, 18.0, 0, EchoReport(62.0, -9.5)),
    "bot": TrackReport("loopback"),
}


def stamp_of(frame, *, trusted=True):
    return Stamp(
        utc_ns=START_UTC_NS + frame * 1_000_000_000 // RATE,
        utc_trusted=trusted,
        utc_error_ms=0.4,
        monotonic_ns=123 + frame * 1_000_000_000 // RATE,
        boot_id="boot",
    )


def stream(frames, seed=0, amplitude=32768):
    """Both tracks and their reason codes, with some gaps: what one session would hold."""
    rng = np.random.default_rng(seed)
    pcm = rng.integers(-amplitude, amplitude, (2, frames), dtype=np.int16)
    reasons = np.zeros((2, frames), dtype=np.uint8)
    for track in range(2):
        for _ in range(3):
            start, length = rng.integers(0, frames), rng.integers(1, 2 + frames // 5)
            reasons[track, start : start + length] = rng.choice(list(GapReason))
    pcm[reasons != 0] = 0
    return pcm, reasons


def spans(pcm, reasons, sizes):
    """Cut a stream into spans of these sizes and one with the rest."""
    edges = [0, *np.cumsum(sizes).clip(max=pcm.shape[1]).tolist(), pcm.shape[1]]
    for start, stop in itertools.pairwise(edges):
        yield Span(TimelineFrame(start), pcm[:, start:stop], reasons[:, start:stop])


def quiet_span(start, frames, reason=0):
    return Span(
        TimelineFrame(start),
        np.zeros((2, frames), dtype=np.int16),
        np.full((2, frames), reason, dtype=np.uint8),
    )


def recording(
    root, published, cutting=None, layout=None, stamps=stamp_of, session=SESSION, utc_wait_s=0.0
):
    return Recording(
        root,
        session,
        RecordingForm(
            layout or Layout(RATE, num_channels=2),
            cutting or Cutting(chunk_frames=None, max_file_frames=FOREVER),
            utc_wait_s,
        ),
        stamps,
        published.append,
    )


def record(path, parts, reason="stop", **how):
    """Record a whole session and return what it published."""
    published = []
    with StorageRoot(Path(path)) as root:
        session = recording(root, published, **how)
        for span in parts:
            session.write(span, REPORTS)
        session.finish(reason)
    return published


def sidecar(published):
    return json.loads(published.sidecar.read_text())


def chunks(published):
    return [one for one in published if one.what == "chunk"]


def audio(path):
    """The samples of a published WAV file as bytes."""
    return Path(path).read_bytes()[HEADER_BYTES:]

"""A disk that fails under a recording: what was durable stays, and the rest is written again."""

import errno
from dataclasses import replace
from itertools import count

import pytest

from edgerec.audio import Span
from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.store.root import StorageRoot
from edgerec.store.writing.rotation import Cutting
from tests.rigs.failing_disk import failing_call
from tests.rigs.made_recordings import (
    FOREVER,
    REPORTS,
    audio,
    chunks,
    quiet_span,
    recording,
    sidecar,
    stamp_of,
    stream,
)


def write_all(session, pcm, reasons, step=25):
    """Write a stream that the ring still holds, resuming after failures as the writer does."""
    frames = pcm.shape[1]
    while session.position < frames:
        start = session.position
        piece = slice(start, min(start + step, frames))
        session.write(Span(start, pcm[:, piece], reasons[:, piece]), REPORTS)
        session.sync()
        session.publish_due()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_once_at_any_call_costs_nothing(memory_path, error):
    """The ring still holds what was not durable: it is written again."""
    pcm, reasons = stream(50)
    for nth in count(1):
        published = []
        failures = 0
        with StorageRoot(memory_path / str(nth)) as root:
            session = recording(root, published, cutting=Cutting(40, FOREVER))
            with failing_call(nth, error) as calls:
                while True:
                    try:
                        if failures:
                            session.resume()
                        write_all(session, pcm, reasons)
                        session.finish("stop")
                        break
                    except StoreError as failure:
                        assert failure.errno == error
                        failures += 1
                made = calls()
            assert failures == (made > nth)  # no failure was swallowed
            held = b"".join(audio(one) for one in sorted(root.ready.rglob("*.wav")))
            assert held == pcm.T.astype("<i2").tobytes()
            assert sidecar(published[-1])["losses"] == {}
            assert verify(root.path).ok
            assert not list(root.work.iterdir())
        if made < nth:
            break
    assert nth > 60  # two chunks, their syncs and their publishing, and the record


def test_what_the_ring_no_longer_holds_is_declared_by_the_next_chunk(root):
    published = []
    session = recording(root, published)
    session.write(quiet_span(0, 40), REPORTS)
    session.sync()
    session.write(quiet_span(40, 10), REPORTS)
    with failing_call(1, errno.ENOSPC), pytest.raises(StoreError):
        session.sync()
    session.resume()
    assert (session.position, session.missing_frames) == (40, 0)
    session.skip_to(80)
    session.write(quiet_span(80, 20), REPORTS)
    assert session.missing_frames == 40
    session.finish("stop")
    before, after, closing = map(sidecar, published)
    assert (before["frames"], before["end_reason"], before["recovered"]) == (40, "disk", False)
    assert (after["start_frame"], after["missing_before"], after["sequence"]) == (80, 40, 1)
    assert closing["losses"] == {"disk": 40}
    assert verify(root.path).ok


def test_what_a_failed_sync_was_to_make_durable_is_not_relied_upon(root):
    """The kernel may have dropped it, and say all is well the second time."""
    published = []
    session = recording(root, published)
    session.write(quiet_span(0, 30), REPORTS)
    session.sync()
    session.write(quiet_span(30, 20), REPORTS)
    with failing_call(2, errno.EIO), pytest.raises(StoreError):
        session.sync()
    session.resume()
    assert session.position == 30


def test_what_was_written_and_not_synced_when_the_disk_failed_is_written_again(root):
    session = recording(root, [])
    session.write(quiet_span(0, 30), REPORTS)
    session.sync()
    session.write(quiet_span(30, 10), REPORTS)
    with failing_call(1, errno.ENOSPC), pytest.raises(StoreError):
        session.write(quiet_span(40, 10), REPORTS)
    session.resume()
    assert session.position == 30


def test_no_chunk_is_begun_in_the_mount_point_of_a_disk_that_was_taken_away(tmp_path):
    with StorageRoot(tmp_path / "root") as root:
        session = recording(root, [])
        StorageRoot(tmp_path / "other").acquire()
        root.path.rename(tmp_path / "away")
        (tmp_path / "other").rename(root.path)
        with pytest.raises(StoreError, match="is its disk still mounted"):
            session.write(quiet_span(0, 10), REPORTS)
        assert not list(root.work.iterdir())


def test_a_chunk_of_which_nothing_was_durable_leaves_no_trace(root):
    session = recording(root, [])
    session.write(quiet_span(0, 50), REPORTS)
    with failing_call(1, errno.EIO), pytest.raises(StoreError):
        session.sync()
    session.resume()
    assert session.position == 0
    assert not list(root.work.iterdir())
    session.write(quiet_span(0, 10), REPORTS)
    assert [path.name[:15] for path in root.work.iterdir()] == ["9f3a01c2_000000"] * 2


def test_resuming_that_fails_too_is_done_again(root):
    published = []
    session = recording(root, published)
    session.write(quiet_span(0, 50), REPORTS)
    session.sync()
    with failing_call(1, errno.EIO), pytest.raises(StoreError):
        session.sync()
    for nth in range(1, 30):
        with failing_call(nth, errno.ENOSPC) as calls:
            try:
                session.resume()
            except StoreError:
                continue
        break
    assert calls() < nth
    session.finish("stop")
    assert [one.frames for one in chunks(published)] == [50]


def test_a_publish_that_was_interrupted_goes_on_under_its_first_name(root, monkeypatch):
    """Though the wall clock has become known since: it would give another name each time."""
    known = []

    def stamps(frame):
        stamp = stamp_of(frame, trusted=bool(known))
        return stamp if known else replace(stamp, utc_ns=17_000_000_000)

    published = []
    session = recording(root, published, cutting=Cutting(40, FOREVER), stamps=stamps)
    with monkeypatch.context() as patch:
        patch.setattr("edgerec.store.publish.place", interrupted)
        with pytest.raises(StoreError, match="interrupted"):
            session.write(quiet_span(0, 40), REPORTS)
    known.append(True)
    session.publish_due()
    session.finish("stop")
    (audio_file,) = root.ready.rglob("*.wav")
    assert audio_file.name.startswith("19700101T000017")
    assert len(list(root.ready.rglob("*_chunk.json"))) == 1
    assert verify(root.path).ok
    assert not list(root.work.iterdir())


def interrupted(audio, final):
    raise StoreError("moving", final, "interrupted")

"""Disks that fail, and kills, at every call of a recording and of its recovery."""

import errno
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import GapReason
from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.store.records.sidecar_reader import DescribedFile, read_sidecar
from edgerec.store.root import StorageRoot
from edgerec.store.writing.recover import recover
from edgerec.store.writing.rotation import Cutting
from tests.rigs.failing_disk import Killed, failing_call
from tests.rigs.leftovers import NEXT_BOOT, NOW, TRACKS_TOO, crash, left_in
from tests.rigs.made_recordings import (
    FOREVER,
    REPORTS,
    quiet_span,
    recording,
    spans,
    stream,
)


def test_recovery_that_fails_at_any_call_is_done_by_the_next_one(memory_path):
    pcm, reasons = stream(70)
    for nth in count(1):
        with StorageRoot(memory_path / str(nth)) as root:
            crash(root, spans(pcm, reasons, [30]), layout=TRACKS_TOO)
            (root.work / "stranger").touch()
            with failing_call(nth, errno.EIO) as calls:
                try:
                    recover(root, NOW)
                except StoreError as failure:
                    assert failure.errno == errno.EIO
                made = calls()
            recover(root, NOW)
            assert left_in(root.work) == []
            kept = {path.suffix for path in root.quarantine.iterdir()}
            assert verify(root.path).ok or ".wav" in kept
            whole = list(root.ready.rglob("*.wav"))
            in_quarantine = list(root.quarantine.glob("*.wav"))
            assert len(whole) + len(in_quarantine) == 3
        if made < nth:
            break
    assert nth > 50  # three files are repaired and published, each with its sidecar


def assert_all_published(root, frames):
    assert left_in(root.work) == left_in(root.quarantine) == []
    sidecars = [read_sidecar(path) for path in root.ready.rglob("*.json")]
    described = [one for one in sidecars if isinstance(one, DescribedFile)]
    assert all(one.path.exists() for one in described)
    for what in TRACKS_TOO.files:
        held = [one.frames for one in described if one.key.what == what]
        assert sum(held) >= frames, what
    assert verify(root.path).ok


def test_a_kill_at_any_disk_call_loses_nothing_that_was_written(memory_path):
    for nth in count(1):
        with StorageRoot(memory_path / str(nth)) as root:
            published = []
            session = recording(root, published, layout=TRACKS_TOO, cutting=Cutting(40, FOREVER))
            with failing_call(nth, None) as calls, suppress(Killed):
                for start in range(0, 100, 20):
                    session.write(quiet_span(start, 20), REPORTS)
                session.finish("stop")
            written = session.position
            if calls() < nth:
                break
            recover(root, NOW)
            assert_all_published(root, written)
    assert nth > 100


def test_a_recovery_killed_at_any_disk_call_is_finished_by_the_next(memory_path):
    for nth in count(1):
        with StorageRoot(memory_path / str(nth)) as root:
            crash(root, [quiet_span(0, 40)], layout=TRACKS_TOO)
            with failing_call(nth, None) as calls, suppress(Killed):
                recover(root, NOW)
            made = calls()
            recover(root, NOW)
            assert_all_published(root, 40)
        if made < nth:
            break
    assert nth > 50


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_no_leftover_however_broken_wedges_a_start(tmp_path_factory, data):
    with StorageRoot(tmp_path_factory.mktemp("root")) as root:
        crash(root, [quiet_span(0, 40), quiet_span(40, 9, GapReason.XRUN)], layout=TRACKS_TOO)
        for path in sorted(root.work.iterdir()):
            held = bytearray(path.read_bytes())
            size = data.draw(st.integers(0, len(held)))
            for _ in range(data.draw(st.integers(0, 3))):
                if size:
                    place = data.draw(st.integers(0, size - 1))
                    held[place] = data.draw(st.integers(0, 255))
            path.write_bytes(held[:size])
        recover(root, data.draw(st.sampled_from([NOW, NEXT_BOOT])))
        assert left_in(root.work) == []
        assert verify(root.path).ok


def test_what_a_failed_sync_was_to_make_durable_is_not_believed_after_a_restart(root):
    session = recording(root, [])
    session.write(quiet_span(0, 40), REPORTS)
    session.sync()
    session.write(quiet_span(40, 10), REPORTS)
    with failing_call(2, errno.EIO), pytest.raises(StoreError):
        session.sync()
    chunk, _closing = recover(root, NOW).published
    assert chunk.frames == 40


def test_a_full_disk_quarantines_nothing(memory_path):
    for nth in count(1):
        with StorageRoot(memory_path / str(nth)) as root:
            crash(root, [quiet_span(0, 40)])
            with failing_call(nth, errno.ENOSPC) as calls, suppress(StoreError):
                recover(root, NOW)
            made = calls()
            recover(root, NOW)
            assert_all_published(root, 0)
            assert len(list(root.ready.rglob("*.wav"))) == 1
        if made < nth:
            break
    assert nth > 20

import errno
import os
from contextlib import contextmanager, suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import GapReason
from edgerec.store import disk
from edgerec.store.cutting import Cutting
from edgerec.store.described import DescribedFile, read_sidecar
from edgerec.store.disk import StoreError
from edgerec.store.layout import Layout
from edgerec.store.naming import Session
from edgerec.store.recover import CutShort, recover
from edgerec.store.root import StorageRoot
from edgerec.store.totals import FILE
from edgerec.store.verify import verify
from tests.failing_disk import Killed, failing_call, recorded_calls
from tests.recordings import (
    FOREVER,
    RATE,
    REPORTS,
    audio,
    chunks,
    quiet_span,
    recording,
    sidecar,
    spans,
    stamp_of,
    stream,
)

NOW = stamp_of(10_000)
NEXT_BOOT = replace(NOW, boot_id="the next boot")
STEREO = Layout(RATE, 2)
TRACKS_TOO = Layout(RATE, 2, separate_tracks=True)


def crash(root, parts, *, layout=STEREO, synced=0, cutting=None):
    """Record without ever ending, the first `synced` spans durably; return what was published."""
    published = []
    session = recording(root, published, layout=layout, cutting=cutting)
    for count, span in enumerate(parts, start=1):
        session.write(span, REPORTS)
        if count == synced:
            session.sync()
    return published


def left_in(folder):
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def power_gone_before_the_last_name():
    """Let the rename of an audio file fail, and swallow the failure like a crash would."""

    def rename(source, target, real=disk._rename_noreplace):
        if target.suffix == ".wav":
            raise OSError(errno.EIO, "Input/output error")
        real(source, target)

    with pytest.MonkeyPatch.context() as patch, suppress(StoreError):
        patch.setattr(disk, "_rename_noreplace", rename)
        yield


@pytest.mark.parametrize("layout", [STEREO, TRACKS_TOO, Layout(RATE, 1)])
def test_after_a_kill_every_frame_that_was_written_is_published_with_its_gaps(root, layout):
    pcm, reasons = stream(250)
    published = crash(
        root, spans(pcm, reasons, [30] * 8), layout=layout, cutting=Cutting(100, FOREVER)
    )
    done = recover(root, NOW)
    assert [one.what for one in done.published] == [*layout.files, "session"]
    everything = chunks(published) + chunks(done.published)
    held = b"".join(audio(one.path) for one in everything)
    assert held == layout.samples("chunk", pcm).astype("<i2").tobytes()
    described = sidecar(done.published[0])
    assert (described["start_frame"], described["frames"]) == (200, 50)
    assert (described["recovered"], described["end_reason"]) == (True, "crash")
    for track, name in enumerate(("user", "bot")):
        gap_frames = sum(gap["frames"] for gap in described["tracks"][name]["gaps"])
        assert gap_frames == np.count_nonzero(reasons[track, 200:])
    assert verify(root.path).ok
    assert left_in(root.work) == left_in(root.quarantine) == []


def test_levels_of_a_recovered_chunk_are_those_of_its_audio(root):
    pcm, reasons = stream(100, amplitude=16000)
    reasons[:] = 0
    crash(root, spans(pcm, reasons, []))
    one, _closing = recover(root, NOW).published
    peak = np.abs(pcm[1].astype(int)).max()
    assert sidecar(one)["tracks"]["bot"]["peak_dbfs"] == round(20 * np.log10(peak / 32768), 1)


def test_after_a_power_cut_what_was_synced_is_published_and_no_more(root):
    crash(root, [quiet_span(0, 40), quiet_span(40, 10, GapReason.XRUN)], synced=1)
    one, _closing = recover(root, NEXT_BOOT).published
    assert one.frames == 40
    assert sidecar(one)["tracks"]["user"]["gaps"] == []


def test_tracks_that_got_further_than_others_are_cut_to_what_all_have(root):
    crash(root, [quiet_span(0, 40)], layout=TRACKS_TOO)
    user = root.work / "9f3a01c2_000000_user.wav"
    user.write_bytes(user.read_bytes()[:-15])  # 8 of 40 frames gone, the last one torn
    assert [one.frames for one in recover(root, NOW).published] == [32, 32, 32, 32]
    assert verify(root.path).ok


@pytest.mark.parametrize("now", [NOW, NEXT_BOOT])
def test_what_holds_no_audio_is_deleted(root, now):
    crash(root, [quiet_span(0, 40)])
    for path in root.work.glob("*.wav"):
        path.write_bytes(path.read_bytes()[:44])
    done = recover(root, now)
    assert len(done.deleted) == 2
    assert left_in(root.work) == left_in(root.quarantine) == []
    assert not list(root.ready.rglob("*.wav"))


@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"{}\n"])
def test_audio_of_which_nothing_is_known_is_quarantined_with_the_reason(root, content):
    crash(root, [quiet_span(0, 40)])
    (root.work / "9f3a01c2_000000_chunk.journal").write_bytes(content)
    done = recover(root, NOW)
    assert len(done.quarantined) == 2
    assert "9f3a01c2_000000_chunk.wav" in left_in(root.quarantine)
    reason = (root.quarantine / "9f3a01c2_000000_chunk.wav.reason.txt").read_text()
    assert "does not say what its chunk is" in reason
    assert left_in(root.work) == []


def test_a_file_is_quarantined_durably_after_its_reason(root):
    (root.work / "notes.txt").touch()
    with recorded_calls() as calls:
        recover(root, NOW)
    assert calls == [
        ("unlink", "notes.txt.reason.txt.new"),
        ("fsync", "notes.txt.reason.txt.new"),
        ("fsync", "quarantine"),
        ("rename", "notes.txt"),
        ("fsync", "quarantine"),
        ("fsync", ".work"),
    ]


def test_strangers_are_quarantined_and_never_overwrite_each_other(root):
    for content in ("one", "two"):
        (root.work / "notes.txt").write_text(content)
        recover(root, NOW)
    held = {path.read_text() for path in root.quarantine.iterdir() if "reason" not in path.name}
    assert held == {"one", "two"}


def link_to_nothing(path):
    path.symlink_to("/nowhere/at/all")


@pytest.mark.parametrize("suffix", [".wav", ".journal", ".json", ""])
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, link_to_nothing])
def test_what_is_no_regular_file_is_quarantined_unopened(root, make, suffix):
    """Opening a pipe would wait for ever, and a link may lead to somebody else's file."""
    path = root.work / f"0000abcd_000000_chunk{suffix}"
    for _ in range(2):  # the second one is in nobody's way
        make(path)
        assert [reason for _, reason in recover(root, NOW).quarantined] == ["not a regular file"]
        assert list(root.work.iterdir()) == []
    assert len(list(root.quarantine.iterdir())) == 4


def test_an_audio_file_that_is_not_what_its_published_sidecar_says_is_quarantined(root):
    with power_gone_before_the_last_name():
        crash(root, [quiet_span(0, 40)], cutting=Cutting(40, FOREVER))
    [path] = root.work.glob("*.wav")
    path.chmod(0o640)
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    done = recover(root, NOW)
    assert any("is not what" in reason for _, reason in done.quarantined)
    assert not list(root.ready.rglob("*.wav"))


def test_a_publish_stopped_before_the_last_name_is_completed_as_it_was_meant(root):
    with power_gone_before_the_last_name():
        crash(root, [quiet_span(0, 40)], cutting=Cutting(40, FOREVER))
    with recorded_calls() as calls:
        done = recover(root, NOW)
    [path] = root.ready.rglob("*.wav")
    assert done.completed == [path]
    assert calls[:4] == [
        ("fsync", "date=2026-11-22"),  # nobody knows whether the sidecar's name was durable
        ("rename", "20261122T101500.123Z_9f3a01c2_000000_chunk.wav"),
        ("fsync", "date=2026-11-22"),
        ("fsync", ".work"),
    ]
    assert [one.what for one in done.published] == ["session"]
    assert verify(root.path).ok
    assert left_in(root.work) == []


def test_a_file_with_both_names_keeps_the_published_one(root):
    with power_gone_before_the_last_name():
        crash(root, [quiet_span(0, 40)], cutting=Cutting(40, FOREVER))
    [final] = (path.with_suffix(".wav") for path in root.ready.rglob("*.json"))
    final.hardlink_to(next(root.work.glob("*.wav")))
    recover(root, NOW)
    assert final.exists()
    assert left_in(root.work) == left_in(root.quarantine) == []


def test_recovery_that_fails_at_any_call_is_done_by_the_next_one(memory_path):
    pcm, reasons = stream(70)
    for nth in range(1, 200):
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
    for nth in range(1, 300):
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
    for nth in range(1, 200):
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


def test_a_journal_without_audio_is_deleted_though_it_says_nothing(root):
    (root.work / "9f3a01c2_000000_chunk.journal").touch()
    assert [path.name for path in recover(root, NOW).deleted] == ["9f3a01c2_000000_chunk.journal"]
    assert left_in(root.quarantine) == []


def test_recovering_twice_changes_nothing(root):
    crash(root, [quiet_span(0, 40)])
    recover(root, NOW)
    before = sorted(root.path.rglob("*"))
    done = recover(root, NOW)
    assert (done.published, done.completed, done.quarantined, done.deleted) == ([], [], [], [])
    assert sorted(root.path.rglob("*")) == before


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
    for nth in range(1, 200):
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


def test_a_session_counts_no_leftover_of_another(root):
    crash(root, [quiet_span(0, 40)])
    session = recording(root, [], session=Session("bbbbbbbb", 42, "9f3a01c2", "k1"))
    session.write(quiet_span(0, 30), REPORTS)
    *_, closing = recover(root, NOW).published
    record = sidecar(closing)
    assert (record["session"], record["frames"]) == ("bbbbbbbb", 30)
    assert (record["end_reason"], record["recovered"], record["files"]) == (
        "crash",
        True,
        {"chunk": 1},
    )


def test_a_session_that_had_just_ended_was_not_cut_short(root):
    published = []
    session = recording(root, published)
    session.write(quiet_span(0, 40), REPORTS)
    totals = (root.state / FILE).read_bytes()
    session.finish("stop")
    (root.state / FILE).write_bytes(totals)  # killed before it was forgotten
    done = recover(root, NOW)
    assert (done.cut_short, done.published) == (None, [])
    assert not (root.state / FILE).exists()


def test_what_is_lost_of_a_session_lies_behind_its_last_frame(root):
    crash(root, [quiet_span(0, 40)])
    cut = recover(root, NOW).cut_short
    assert cut == CutShort("9f3a01c2", stamp_of(40))


def test_a_session_that_began_before_the_wall_clock_was_known_is_dated_by_it_later(root):
    published = []
    session = recording(
        root, published, stamps=lambda f: replace(stamp_of(f, trusted=False), utc_ns=17)
    )
    session.write(quiet_span(0, 40), REPORTS)
    chunk, closing = recover(root, NOW).published
    for one in (chunk, closing):
        assert sidecar(one)["started_at"] == "2026-11-22T10:15:00.123456Z"
        assert sidecar(one)["utc_trusted"] is True


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\0" * 99, b'{"session": 1}'])
def test_totals_that_nobody_can_read_cost_a_closing_record_and_no_more(root, content):
    crash(root, [quiet_span(0, 40)])
    (root.state / FILE).write_bytes(content)
    assert [one.what for one in recover(root, NOW).published] == ["chunk"]
    assert len(left_in(root.quarantine)) == 1


def test_chunks_that_waited_for_the_wall_clock_are_published_as_they_ended(root):
    published = []
    session = recording(
        root,
        published,
        cutting=Cutting(40, FOREVER),
        stamps=lambda frame: stamp_of(frame, trusted=False),
        utc_wait_s=9,
    )
    session.write(quiet_span(0, 90), REPORTS)
    assert published == []
    done = recover(root, NEXT_BOOT)  # the finished ones are durable, what came behind is not
    described = [sidecar(one) for one in chunks(done.published)]
    assert [(one["frames"], one["end_reason"], one["recovered"]) for one in described] == [
        (40, "full", False),
        (40, "full", False),
    ]
    assert verify(root.path).ok

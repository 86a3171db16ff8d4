"""What is left in the work folder is repaired and published, or quarantined with the reason."""

import errno
import os
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from edgerec.audio import GapReason
from edgerec.store import disk
from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.store.records.layout import Layout
from edgerec.store.writing.recover import recover
from edgerec.store.writing.rotation import Cutting
from tests.rigs.failing_disk import recorded_calls
from tests.rigs.leftovers import NEXT_BOOT, NOW, STEREO, TRACKS_TOO, crash, left_in
from tests.rigs.made_recordings import (
    FOREVER,
    RATE,
    audio,
    chunks,
    quiet_span,
    sidecar,
    spans,
    stream,
)


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
    assert "does not describe its chunk" in reason
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

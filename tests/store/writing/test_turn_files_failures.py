"""Turn files after a kill, a power cut, and a disk that hangs or fails at any call."""

import errno
from dataclasses import replace
from types import SimpleNamespace

import pytest

from edgerec.store.archive.verify import verify
from edgerec.store.records.layout import Layout
from edgerec.store.records.sidecar import kind_of
from edgerec.store.records.sidecar_reader import read_sidecar
from edgerec.store.root import StorageRoot
from edgerec.store.writing.recover import recover
from tests.rigs.failing_disk import Killed, failing_call
from tests.rigs.made_recordings import sidecar
from tests.rigs.turn_rig import (
    BOT,
    LETTER,
    RATE,
    RULES,
    USER,
    TurnRig,
    assert_views_of,
    conversation,
    run_through_failures,
    stamp_of,
)

NOW = stamp_of(10_000)
NEXT_BOOT = replace(NOW, boot_id="the next boot")


def crashed(root, *, synced_at=None, **how):
    """Record without an end."""
    rig = TurnRig(root, **how)
    rig.run(conversation(USER, BOT)[:, : 31 * LETTER], sync_every=synced_at)
    return rig.published


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_after_a_kill_a_turn_is_published_as_far_as_it_was_written(root, form):
    published = crashed(root, layout=Layout(RATE, 2, format=form))
    done = recover(root, NOW)
    pcm = conversation(USER, BOT)
    turns = assert_views_of(published + done.published, pcm)
    last = [one for one in turns if one.what == "turn-user"][-1]
    described = sidecar(last)
    assert (described["recovered"], described["end_reason"]) == (True, "crash")
    assert described["turn"]["speech_end_frame"] == last.start_frame + last.frames
    assert last.start_frame == 22 * LETTER
    assert last.start_frame + last.frames >= 28 * LETTER
    assert verify(root.path).ok
    assert list(root.work.iterdir()) == list(root.quarantine.iterdir()) == []
    assert recover(root, NOW).published == []


def test_after_a_power_cut_a_turn_is_published_as_far_as_it_was_synced(root):
    published = crashed(root, synced_at=5)
    done = recover(root, NEXT_BOOT)
    turns = assert_views_of(published + done.published, conversation(USER, BOT))
    assert [one.what for one in done.published].count("turn-user") == 1
    assert turns[-1].start_frame + turns[-1].frames <= 30 * LETTER
    assert verify(root.path).ok


def test_a_turn_whose_beginning_is_no_longer_in_memory_says_so(root):
    rig = TurnRig(root, keep_s=1.0, rules=replace(RULES, max_turn=10**9))
    pcm = conversation("..SSSSS" + "S" * 140, "." * 147)
    rig.commit(pcm[:, : 8 * LETTER])
    rig.find()
    rig.write()
    for start in range(8, 147, 20):  # the disk hangs: nothing is written
        rig.commit(pcm[:, start * LETTER : (start + 20) * LETTER])
        rig.find()
    rig.write()
    before, after = assert_views_of(rig.finish(), pcm)
    assert (before.end_reason, sidecar(before)["turn"]["part"]) == ("disk", 0)
    described = sidecar(after)
    assert described["turn"]["part"] == 1
    assert described["missing_before"] == after.start_frame - before.start_frame - before.frames > 0
    assert verify(root.path).ok


def test_a_disk_that_fails_once_at_any_call_costs_no_frame_of_a_turn(tmp_path):
    pcm = conversation("..SSSS......", ".SSSS.......")
    calls = count_calls(tmp_path / "count", pcm)
    assert calls > 100
    for nth in range(1, calls + 1, 3):  # every third is enough: each kind is among them
        with StorageRoot(tmp_path / str(nth)) as root:
            rig = TurnRig(root)
            with failing_call(nth, errno.EIO):
                published = run_through_failures(rig, pcm)
            assert published
            turns = assert_views_of(files_in(root), pcm)
            for what, frames in (("turn-user", 9 * LETTER), ("turn-bot", 8 * LETTER)):
                own = [one for one in turns if one.what == what]
                assert sum(one.frames for one in own) == frames, nth
                assert [sidecar(one)["turn"]["part"] for one in own] == list(range(len(own)))
            report = verify(root.path)
            assert report.ok, (nth, report.findings)
            assert list(root.work.iterdir()) == [], nth


def files_in(root):
    """What is published, whoever finished it, in order."""
    files = [
        SimpleNamespace(
            path=one.path,
            sidecar=one.path.with_suffix(".json"),
            kind=kind_of(one.key.what),
            what=one.key.what,
            sequence=one.key.sequence,
            start_frame=one.start,
            frames=one.frames,
        )
        for one in map(read_sidecar, root.ready.rglob("*.json"))
        if one.key.what != "session"
    ]
    return sorted(files, key=lambda file: (file.what, file.sequence))


def count_calls(path, pcm):
    with StorageRoot(path) as root:
        rig = TurnRig(root)
        with failing_call(10**9, errno.EIO) as count:
            run_through_failures(rig, pcm)
            return count()


def test_a_kill_at_any_disk_call_leaves_only_whole_turn_files(tmp_path):
    pcm = conversation("..SSSS......", ".SSSS.......")
    calls = count_calls(tmp_path / "count", pcm)
    for nth in range(2, calls + 1, 5):
        with StorageRoot(tmp_path / str(nth)) as root:
            rig = TurnRig(root)
            try:
                with failing_call(nth, None):
                    run_through_failures(rig, pcm)
            except Killed:
                pass
            recover(root, NOW)
            assert_views_of(files_in(root), pcm)
            report = verify(root.path)
            assert report.ok, (nth, report.findings)
            assert list(root.work.iterdir()) == list(root.quarantine.iterdir()) == [], nth

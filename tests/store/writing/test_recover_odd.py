"""Whatever lies in the work folder: it costs itself, and everything else is recovered."""

import errno
import json
import os
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from edgerec.store import disk
from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.store.publish import PublishedNames
from edgerec.store.records.naming import Session
from edgerec.store.writing.closing import publish_leftover
from edgerec.store.writing.recover import recover
from edgerec.store.writing.rotation import Cutting
from edgerec.store.writing.wav import HEADER_BYTES
from tests.rigs.damaged_files import read_journal_lines, write_journal_lines
from tests.rigs.leftovers import NEXT_BOOT, NOW, TRACKS_TOO, crash, left_in
from tests.rigs.made_recordings import (
    FOREVER,
    REPORTS,
    quiet_span,
    recording,
    sidecar,
    stamp_of,
)

S = 1_000_000_000
OTHER = Session("0000abcd", 40, None, "k1")
JOURNAL = "0000abcd_000000_chunk.journal"


def truncated(size_bytes):
    def make(path):
        path.touch()
        os.truncate(path, size_bytes)

    return make


def make_socket(path):
    os.chdir(path.parent)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)


def full_folder(path):
    path.mkdir()
    (path / "0000abcd_000000_chunk.wav").write_bytes(b"x" * 5000)


ODD = {
    "a name of 245 bytes": ("x" * 241 + ".wav", truncated(5000)),
    "a journal's name of 250 bytes": ("0000abcd_" + "1" * 225 + "_chunk.journal", truncated(50)),
    "a name of 255 bytes": ("é" * 127 + "x", truncated(1)),
    "a name that is not text": (os.fsdecode(b"\xff\xfe\n\x1b[2J"), truncated(1)),
    "a hidden name": (".nfs0000000000000001", truncated(1)),
    "a sparse journal of 2 GB": (JOURNAL, truncated(2 << 30)),
    "a sparse audio file of a terabyte": ("0000abcd_000000_chunk.wav", truncated(1 << 40)),
    "a pipe": (JOURNAL, os.mkfifo),
    "a folder": (JOURNAL, full_folder),
    "a socket": (JOURNAL, make_socket),
    "a link to itself": (JOURNAL, lambda path: path.symlink_to(path)),
    "a link to a device": ("0000abcd_000000_chunk.wav", lambda path: path.symlink_to("/dev/zero")),
    "a journal of zeros": (JOURNAL, truncated(500)),
    "a draft": ("20261122T101500.123Z_0000abcd_000000_chunk.json", truncated(500)),
    "another draft": ("edgerec.yaml", truncated(500)),
}


@pytest.fixture(params=ODD.values(), ids=ODD)
def odd(request, root, monkeypatch):
    """An odd leftover beside one of a crash."""
    monkeypatch.chdir(root.path)
    name, make = request.param
    crash(root, [quiet_span(0, 40)], layout=TRACKS_TOO)
    make(root.work / name)
    return root.work / name


def assert_rest_is_recovered(root, done):
    ours = [one for one in done.published if one.session == "9f3a01c2"]
    assert [one.what for one in ours] == ["chunk", "user", "bot", "session"]
    assert verify(root.ready).ok


def test_it_is_quarantined_or_was_nothing_and_the_rest_is_recovered(root, odd):
    done = recover(root, NOW)
    assert_rest_is_recovered(root, done)
    assert (done.left, left_in(root.work)) == ([], [])
    for path, reason in done.quarantined:
        note = path.with_name(path.name + ".reason.txt").read_text()
        assert len(path.name) < 100
        assert path.name.isascii()
        assert path.name.isprintable()
        assert reason[:20] in note
        assert ascii(str(odd)) in note


def test_it_is_left_alone_where_it_can_not_be_moved_and_the_rest_is_recovered(
    root, odd, monkeypatch
):
    def rename(source, target, real=disk._rename_noreplace):
        if source == odd:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        real(source, target)

    monkeypatch.setattr(disk, "_rename_noreplace", rename)
    for _ in range(2):
        done = recover(root, NOW)
        if odd.name in left_in(root.work):
            assert [path for path, _ in done.left] == [odd]
            assert left_in(root.work) == [odd.name]
    assert verify(root.ready).ok


def test_no_leftover_costs_another_one_of_the_same_session_its_place(root, monkeypatch):
    """What can't be published yet is waited for, or the totals would count it as published."""
    monkeypatch.setattr(
        "edgerec.store.writing.recording.Recording.publish_due", lambda session: None
    )
    crash(root, [quiet_span(0, 100)], cutting=Cutting(40, FOREVER))
    with monkeypatch.context() as patch:
        refuse_folders(patch, "date=2026-11-22")
        done = recover(root, NOW)
    assert [path.name for path, _ in done.left] == ["9f3a01c2_000000_chunk.journal"]
    assert done.published == []
    assert len(left_in(root.work)) == 6
    done = recover(root, NOW)
    assert [one.frames for one in done.published] == [40, 40, 20, 100]
    assert sidecar(done.published[-1])["losses"] == {}
    assert verify(root.path).ok


def refuse_folders(patch, *names):
    def mkdir(path, *how, real=Path.mkdir, **options):
        if path.name in names:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        real(path, *how, **options)

    patch.setattr(Path, "mkdir", mkdir)


def test_a_session_whose_folder_belongs_to_another_user_costs_the_others_nothing(root, monkeypatch):
    crash(root, [quiet_span(0, 40)])
    session = recording(root, [], session=OTHER, stamps=lambda frame: stamp_of(frame - 86_400_000))
    session.write(quiet_span(0, 30), REPORTS)
    refuse_folders(monkeypatch, "date=2026-11-21")
    done = recover(root, NOW)
    assert_published_of(done, "9f3a01c2", ["chunk", "session"])
    assert_published_of(done, "0000abcd", [])
    assert "Permission denied" in done.left[0][1]
    monkeypatch.undo()
    assert_published_of(recover(root, NOW), "0000abcd", ["chunk", "session"])


def assert_published_of(done, session, expected):
    assert [one.what for one in done.published if one.session == session] == expected


def test_the_audio_beside_a_journal_of_another_chunk_is_kept(root):
    """As when somebody has copied a chunk within the work folder."""
    crash(root, [quiet_span(0, 40)])
    copy = "9f3a01c2_000007_chunk"
    for suffix in (".journal", ".wav"):
        held = (root.work / f"9f3a01c2_000000_chunk{suffix}").read_bytes()
        (root.work / (copy + suffix)).write_bytes(held)
    audio = (root.work / f"{copy}.wav").read_bytes()
    done = recover(root, NOW)
    assert [one.what for one in done.published] == ["chunk", "session"]
    assert (root.quarantine / f"{copy}.wav").read_bytes() == audio
    assert "is the journal of" in (root.quarantine / f"{copy}.wav.reason.txt").read_text()
    assert done.deleted == [root.work / "9f3a01c2_000000_chunk.journal"]


@pytest.mark.parametrize("now", [NOW, NEXT_BOOT])
@pytest.mark.parametrize("name", ["9f3a01c2_000000_user.wav", "9f3a01c2_000000_chunk.flac"])
def test_audio_that_its_journal_does_not_speak_of_is_kept(root, now, name):
    crash(root, [quiet_span(0, 40)], synced=1)
    (root.work / name).write_bytes(b"x" * (HEADER_BYTES + 100))
    done = recover(root, now)
    assert [one.what for one in done.published] == ["chunk", "session"]
    assert [path.name for path, _ in done.quarantined] == [name]


@pytest.mark.parametrize("change", ["longer", "shorter"])
def test_a_chunk_that_is_not_as_long_as_its_journal_says_is_not_published(
    root, change, monkeypatch
):
    monkeypatch.setattr(
        "edgerec.store.writing.recording.Recording.publish_due", lambda session: None
    )
    crash(root, [quiet_span(0, 40)], cutting=Cutting(40, FOREVER))
    [journal] = root.work.glob("*.journal")
    lines = read_journal_lines(journal)
    lines[-1]["closing"]["frames"] += 1 if change == "longer" else -1
    write_journal_lines(journal, lines)
    done = recover(root, NOW)
    assert [one.what for one in done.published] == ["session"]
    assert len(done.quarantined) == 2


def test_a_million_published_files_are_not_looked_at_where_one_name_will_do(root, monkeypatch):
    monkeypatch.setattr(
        "edgerec.store.writing.recording.Recording.publish_due", lambda session: None
    )
    crash(root, [quiet_span(0, 100)], cutting=Cutting(20, FOREVER))
    monkeypatch.setattr(PublishedNames, "_look", lambda names: pytest.fail("it looks everywhere"))
    monkeypatch.setattr(Path, "glob", lambda *_: pytest.fail("it looks everywhere"))
    done = recover(root, NOW)
    assert [one.what for one in done.published] == ["chunk"] * 5 + ["session"]


def test_one_look_finds_all_that_was_named_before_the_wall_clock_was_known(root, monkeypatch):
    """Ended and begun to be published by a clock that has been set since."""
    with monkeypatch.context() as patch:
        patch.setattr("edgerec.store.writing.recording.Recording.publish_due", lambda session: None)
        session = recording(
            root,
            [],
            cutting=Cutting(20, FOREVER),
            stamps=lambda frame: replace(stamp_of(frame, trusted=False), utc_ns=frame * S),
        )
        session.write(quiet_span(0, 60), REPORTS)

    def interrupted(audio, final):
        raise StoreError("moving", final, "interrupted")

    with monkeypatch.context() as patch:
        patch.setattr("edgerec.store.publish.place", interrupted)
        early = stamp_of(5_000, trusted=False)
        for journal in sorted(root.work.glob("*.journal")):
            with pytest.raises(StoreError, match="interrupted"):
                publish_leftover(root, journal, early, begun_before=False)
    looks = []
    real = PublishedNames._look
    monkeypatch.setattr(PublishedNames, "_look", lambda names: looks.append(names) or real(names))
    done = recover(root, NOW)
    assert len(done.completed) == 3
    assert len(looks) == 1
    assert verify(root.path).ok


@pytest.mark.parametrize("size", [200_000, 1 << 40])
def test_hostile_files_under_ready_are_in_nobodys_way(root, size):
    """A sidecar of brackets, or one larger than memory, where one of ours should be."""
    crash(root, [quiet_span(0, 40)])
    folder = root.make_folders("kiosk=k1", "date=2026-11-22")
    hostile = folder / "20261122T101500.123Z_9f3a01c2_000000_chunk.json"
    hostile.write_bytes(b"[" * 200_000)
    os.truncate(hostile, size)
    done = recover(root, NOW)
    assert done.left == []
    assert {path.suffix for path, _ in done.quarantined} == {".wav", ".journal"}
    assert hostile.stat().st_size == size


def test_a_name_that_is_taken_is_waited_for(root):
    crash(root, [quiet_span(0, 40)])
    folder = root.make_folders("kiosk=k1", "date=2026-11-22")
    taken = folder / "20261122T101500.123Z_9f3a01c2_000000_chunk.wav"
    taken.mkdir()
    done = recover(root, NOW)
    assert "File exists" in done.left[0][1]
    assert len(left_in(root.work)) == 2
    taken.rmdir()
    assert [one.what for one in recover(root, NOW).published] == ["chunk", "session"]
    assert verify(root.path).ok


def test_each_session_that_was_cut_short_is_closed(root):
    for session in (OTHER, Session("1111abcd", 42, None, "k1")):
        parts = recording(root, [], session=session)
        parts.write(quiet_span(0, 30), REPORTS)
    done = recover(root, NOW)
    assert [one.session for one in done.published if one.what == "session"] == [
        "0000abcd",
        "1111abcd",
    ]
    assert done.cut_short.session == "1111abcd"
    assert not list(root.state.glob("open-session*"))
    assert verify(root.path).ok


def test_totals_of_an_earlier_version_are_of_the_session_that_they_name(root):
    crash(root, [quiet_span(0, 40)])
    [totals] = root.state.glob("open-session*")
    totals.rename(root.state / "open-session.json")
    assert [one.what for one in recover(root, NOW).published] == ["chunk", "session"]
    assert not list(root.state.glob("open-session*"))


def test_what_goes_on_is_no_leftover(root):
    session = root.open_session("k1")
    going_on = recording(root, [], session=session)
    going_on.write(quiet_span(0, 40), REPORTS)
    before = {path: path.read_bytes() for path in root.work.iterdir()}
    (root.work / f"20261122T101500.123Z_{session.id}_000000_chunk.json").touch()
    done = recover(root, NOW)
    assert (done.published, done.quarantined, done.deleted) == ([], [], [])
    assert before.items() <= {path: path.read_bytes() for path in root.work.iterdir()}.items()
    root.leave_session(session)
    assert [one.what for one in recover(root, NOW).published] == ["chunk", "session"]


def test_a_session_that_had_ended_is_closed_as_it_ended(root, monkeypatch):
    session = recording(root, [], cutting=Cutting(40, FOREVER))
    with monkeypatch.context() as patch:
        refuse_folders(patch, "date=2026-11-22")
        with pytest.raises(StoreError):
            session.write(quiet_span(0, 40), REPORTS)
        session.skip_to(50)
        with pytest.raises(StoreError):
            session.finish("reload")
    *_, closing = recover(root, NEXT_BOOT).published
    record = json.loads(closing.path.read_text())
    assert (record["end_reason"], record["recovered"]) == ("reload", False)
    assert (record["frames"], record["losses"]) == (50, {"disk": 10})
    assert verify(root.path).ok


def test_totals_that_are_of_an_impossible_time_cost_a_closing_record(root):
    crash(root, [quiet_span(0, 40)])
    [path] = root.state.glob("open-session*")
    fields = json.loads(path.read_text())
    fields["start"]["utc_ns"] = 10**25
    path.write_text(json.dumps(fields))
    done = recover(root, NOW)
    assert [one.what for one in done.published] == ["chunk"]
    assert [where.name for where, _ in done.quarantined] == [path.name]
    assert done.left == []


def test_recordings_stay_private_in_quarantine(root):
    crash(root, [quiet_span(0, 40)])
    (root.work / "9f3a01c2_000000_chunk.journal").write_bytes(b"")
    recover(root, NOW)
    for path in root.quarantine.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0


def test_a_file_that_its_journal_has_forgotten_is_kept(root, monkeypatch):
    monkeypatch.setattr(
        "edgerec.store.writing.recording.Recording.publish_due", lambda session: None
    )
    crash(root, [quiet_span(0, 40)], layout=TRACKS_TOO, cutting=Cutting(40, FOREVER))
    [journal] = root.work.glob("*.journal")
    lines = read_journal_lines(journal)
    del lines[-1]["closing"]["files"]["user"]
    write_journal_lines(journal, lines)
    done = recover(root, NOW)
    assert [one.what for one in done.published] == ["chunk", "bot", "session"]
    assert [path.name for path, _ in done.quarantined] == ["9f3a01c2_000000_user.wav"]


def test_audio_in_place_of_which_nothing_was_published_is_kept(root, monkeypatch):
    """Its compressed form, which the journal speaks of, may have been fetched; who knows."""
    monkeypatch.setattr(
        "edgerec.store.writing.recording.Recording.publish_due", lambda session: None
    )
    crash(root, [quiet_span(0, 40)], layout=replace(TRACKS_TOO, format="flac"),
          cutting=Cutting(40, FOREVER))  # fmt: skip
    for path in root.work.glob("*.flac"):
        path.with_suffix(".wav").write_bytes(b"x" * (HEADER_BYTES + 100))
        path.unlink()
    done = recover(root, NOW)
    assert len(done.quarantined) == 3
    assert [one.what for one in done.published] == ["session"]


def test_audio_longer_than_a_file_of_ours_can_be_is_quarantined_unread(root, monkeypatch):
    """A sparse terabyte would take a day to be measured."""
    crash(root, [quiet_span(0, 40)])
    os.truncate(root.work / "9f3a01c2_000000_chunk.wav", 1 << 40)
    monkeypatch.setattr(
        "edgerec.store.writing.closing._measure", lambda *_: pytest.fail("it is read")
    )
    done = recover(root, NOW)
    assert [path.suffix for path, _ in done.quarantined] == [".journal", ".wav"]
    assert "longer than a WAV file can be" in done.quarantined[0][1]

import dataclasses
import json
import os
import shutil

import pytest

from edgerec.audio import GapReason
from edgerec.store.archive import tree
from edgerec.store.archive import verify as verifying
from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.store.records.layout import Layout
from edgerec.store.root import StorageRoot
from edgerec.store.writing.rotation import Cutting
from tests.rigs.made_recordings import RATE, REPORTS, quiet_span, record, recording, spans, stream

LAYOUT = Layout(RATE, 2, separate_tracks=True)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Three chunks with their tracks, and the closing record."""
    top = tmp_path_factory.mktemp("original")
    pcm, reasons = stream(250)
    cutting = Cutting(100, 10**9)
    return top, record(top, spans(pcm, reasons, [70]), cutting=cutting, layout=LAYOUT)


@pytest.fixture
def published(original, tmp_path):
    """The same once more, for a test to spoil."""
    top, published = original
    shutil.copytree(top, tmp_path, dirs_exist_ok=True)
    return [
        dataclasses.replace(
            one,
            path=tmp_path / one.path.relative_to(top),
            sidecar=tmp_path / one.sidecar.relative_to(top),
        )
        for one in published
    ]


@pytest.fixture
def archive(published, tmp_path):
    """Where a sync job has brought them."""
    (tmp_path / "ready").rename(tmp_path / "archive")
    return tmp_path / "archive"


def delete(top, pattern):
    for path in top.rglob(pattern):
        path.unlink()


def problems(top, severity="error"):
    return [(f.path.name, f.problem) for f in verify(top).findings if f.severity == severity]


def only_problem(top):
    [(name, problem)] = problems(top)
    return name, problem


def change(path, **fields):
    path.chmod(0o640)
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def take(published, sequence, *, audio_only=False):
    for one in published:
        if one.kind != "session" and one.sequence == sequence:
            one.path.unlink()
            if not audio_only:
                one.sidecar.unlink()


def test_a_whole_recording_has_nothing_wrong(tmp_path, published):
    report = verify(tmp_path)
    assert report.ok
    assert (report.files, report.sessions, report.findings) == (9, 1, ())
    assert report.bytes == sum(one.path.stat().st_size for one in published[:-1])


def test_a_tree_of_any_depth_is_looked_at(tmp_path, published):
    moved = tmp_path / "elsewhere" / "in" / "depth"
    shutil.copytree(published[0].path.parent, moved)
    assert verify(tmp_path / "elsewhere").files == 9
    assert verify(moved).ok


def test_what_is_not_published_is_left_out(tmp_path, published):
    for folder in (".work", ".state", "quarantine"):
        (tmp_path / folder / "a.wav").write_bytes(b"half")
    assert verify(tmp_path).findings == ()


def test_a_pipe_in_place_of_a_file_is_wrong_and_not_waited_for(tmp_path, published):
    published[0].path.unlink()
    os.mkfifo(published[0].path)
    assert any("is not a regular file" in problem for _, problem in problems(tmp_path))


def test_a_pipe_in_place_of_a_sidecar_is_wrong_and_not_waited_for(tmp_path, published):
    published[0].sidecar.unlink()
    os.mkfifo(published[0].sidecar)
    found = (published[0].sidecar.name, "can't be read: not a regular file")
    assert found in problems(tmp_path)


def test_other_files_are_nobodys_business(tmp_path, published):
    (tmp_path / "notes.json").write_text("{")
    (tmp_path / "README.txt").write_text("")
    published[0].path.with_suffix(".ack").touch()
    assert verify(tmp_path).findings == ()


def test_audio_without_a_sidecar_is_wrong(archive, published):
    delete(archive, published[0].sidecar.name)
    assert (published[0].path.name, "has no sidecar") in problems(archive)


STEM = "20261122T101500.123Z_9f3a01c2_000001_chunk"
KEPT_BY_OTHERS = [
    f"._{STEM}.wav",
    f"._{STEM}.json",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    f".~{STEM}.wav",
    f".{STEM}.wav.Xa81bc",  # rsync, while it comes
    f".syncthing.{STEM}.wav.tmp",
    f"{STEM}.wav.partial",
    f"{STEM}.wav.tmp",
    ".stversions/a.wav",
    ".stfolder/b.json",
    ".Trash-1000/files/c.wav",
    "#recycle/d.wav",
    "$RECYCLE.BIN/e.wav",
    "@eaDir/f.wav",
    "lost+found/g.wav",
    "notes.json",
    f"{STEM}.ack",
]
NO_RECORDINGS = [
    f"{STEM} (conflicted copy).wav",
    f"{STEM} (Anna's conflicted copy 2026-11-22).json",
    f"{STEM}.sync-conflict-20261122-101500-ABCDEFG.wav",
    f"{STEM} (1).flac",
    f"{STEM} - Copy.wav",
    f"{STEM}..path1.wav",
    f"{STEM}-KIOSK-PC.opus",
    "interview.wav",
]


@pytest.mark.parametrize("where", ["kiosk", "archive"])
def test_what_is_no_recording_is_no_error_and_what_looks_like_one_is_named(
    tmp_path, published, where
):
    if where == "archive":
        (tmp_path / "ready").rename(tmp_path / "archive")
    folder = next(tmp_path.rglob("date=*"))
    for name in KEPT_BY_OTHERS + NO_RECORDINGS:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    report = verify(tmp_path)
    assert (report.ok, report.files) == (True, 9)
    assert sorted(problems(tmp_path, "info")) == [
        (name, "not a name that edgerec gives: not looked at") for name in sorted(NO_RECORDINGS)
    ]


@pytest.mark.parametrize(
    "taken",
    [
        ["*.wav"],
        ["*chunk.*"],
        ["*_000001_*"],
        ["*.wav", "*_00000[012]_[cub]*.json"],
        ["*.json"],
        ["*"],
    ],
)
def test_at_the_kiosk_whatever_a_sync_job_has_taken_is_no_error(tmp_path, published, taken):
    for pattern in taken:
        for path in tmp_path.joinpath("ready").rglob(pattern):
            if path.is_file():
                path.unlink()
    assert problems(tmp_path) == []


def test_files_that_are_taken_away_while_they_are_looked_at_are_no_error(tmp_path, published):
    def take_all(_done, _total):
        delete(tmp_path, "*.wav")

    report = verify(tmp_path, take_all)
    assert report.ok
    assert len(report.findings) == 9


def test_sidecars_that_are_taken_away_before_they_are_read_are_no_error(
    tmp_path, published, monkeypatch
):
    def walk(top):
        paths = list(tree.walk(top))
        delete(top, "*.json")
        return paths

    monkeypatch.setattr(verifying, "walk", walk)
    assert verify(tmp_path).ok


def test_a_long_value_is_shown_in_part(tmp_path, published):
    change(published[0].sidecar, schema="x" * 1_000_000)
    assert max(len(problem) for _, problem in problems(tmp_path)) < 300


def test_a_file_of_the_wrong_length_is_not_read_to_its_end(tmp_path, published):
    path = published[0].path
    path.chmod(0o640)
    os.truncate(path, 1 << 40)  # 1 TB, sparse
    assert f"is {1 << 40} bytes long" in problems(tmp_path)[0][1]


def test_a_sidecar_without_its_audio_is_acknowledged(tmp_path, published):
    take(published, 1, audio_only=True)
    assert verify(tmp_path).ok
    assert [problem for _, problem in problems(tmp_path, "info")] == [
        "acknowledged: taken away, its sidecar is left"
    ] * 3


def test_in_an_archive_a_sidecar_without_its_audio_is_an_error(tmp_path, published):
    take(published, 1, audio_only=True)
    for folder in (tmp_path / "ready", tmp_path / "ready" / "kiosk=k1"):
        assert verify(folder).ok  # however deep one looks
    archive = tmp_path / "archive"
    (tmp_path / "ready").rename(archive)
    assert problems(archive) == [
        (one.path.name, "is missing, its sidecar is here")
        for one in sorted(published, key=lambda one: one.path)
        if one.kind != "session" and one.sequence == 1
    ]


def test_a_cut_off_file_is_found_by_its_length(tmp_path, published):
    path = published[0].path
    path.chmod(0o640)
    path.write_bytes(path.read_bytes()[:-4])
    assert problems(tmp_path) == [
        (path.name, "is 1100 bytes long, its sidecar says 1104"),
        (path.name, "is 1100 bytes long, its header says 1104"),
    ]


def test_a_changed_sample_is_found_by_the_checksum(tmp_path, published):
    path = published[0].path
    path.chmod(0o640)
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    assert "SHA-256 differs" in only_problem(tmp_path)[1]


def test_a_file_of_another_form_than_described_is_found(tmp_path, published):
    form = {"container": "wav", "codec": "pcm_s16le", "sample_rate": 44100, "channels": ["user"]}
    change(published[0].sidecar, format=form)
    assert [problem for _, problem in problems(tmp_path)] == [
        "has 1000 Hz, its sidecar says 44100",
        "has 2 channels, its sidecar says 1",
    ]


def test_a_file_of_another_length_than_described_is_found(tmp_path, published):
    take(published, 1)
    take(published, 2)
    published[-1].path.unlink()
    change(published[0].sidecar, frames=101)
    assert only_problem(tmp_path)[1] == "has 100 frames, its sidecar says 101"


def test_an_unreadable_header_is_found(tmp_path, published):
    path = published[0].path
    path.chmod(0o640)
    path.write_bytes(b"FORM" + path.read_bytes()[4:])
    assert "not the header of a 16-bit PCM WAV file" in only_problem(tmp_path)[1]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "\0", "[" * 100_000, '{"schema": "edgerec/1"}', "\ud800"]
)
def test_a_malformed_sidecar_is_a_finding(tmp_path, published, text):
    path = published[0].sidecar
    path.chmod(0o640)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    found = problems(tmp_path)
    assert found
    assert path.name in {name for name, _ in found}


@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize("value", [None, -1, "x", [], {}, [{}], {"user": {"gaps": [{}]}}, {"x": 1}])
def test_a_field_of_any_wrong_type_is_a_finding(tmp_path, published, which, value):
    original = json.loads(published[which].sidecar.read_text())
    named = {"schema", "kind", "session", "sequence", "frames", "tracks"}
    named |= {"files", "losses"} if which else {"bytes", "start_frame", "format", "recovered"}
    for name in named:
        if value == {} and name in ("tracks", "files", "losses"):
            continue
        change(published[which].sidecar, **(original | {name: value}))
        assert any(name in problem for _, problem in problems(tmp_path)), name


def test_what_only_a_newer_version_knows_is_ignored_at_any_depth(tmp_path, published):
    for one in published:
        fields = json.loads(one.sidecar.read_text())
        fields["newer"] = [1]
        for inner in (*fields["tracks"].values(), fields.get("format", {})):
            inner["newer"] = {}
        change(one.sidecar, **fields)
    assert problems(tmp_path) == []


def test_all_that_is_wrong_with_a_sidecar_is_said_with_its_place(tmp_path, published):
    fields = json.loads(published[0].sidecar.read_text())
    del fields["sha256"]
    fields["format"]["container"] = "mp3"
    fields["tracks"]["user"]["gaps"] = [{"start_frame": 0, "frames": True, "reason": "fate"}]
    published[0].sidecar.chmod(0o640)
    published[0].sidecar.write_text(json.dumps(fields))
    found = [problem for _, problem in problems(tmp_path)]
    assert found[:4] == [
        "sha256 is missing, expected a text",
        "format.container is 'mp3', expected wav, flac or ogg",
        "tracks.user.gaps[0].frames is True, expected a whole number from 1 to 281474976710655",
        "tracks.user.gaps[0].reason is 'fate', expected a text that is a reason of a gap",
    ]


@pytest.mark.parametrize(
    "gaps",
    [
        [{"start_frame": 95, "frames": 6, "reason": "xrun"}],
        [{"start_frame": 50, "frames": 5, "reason": "xrun"}] * 2,
        [{"start_frame": 50, "frames": 5, "reason": "bad luck"}],
        [{"start_frame": 50, "frames": 0, "reason": "xrun"}],
    ],
)
def test_gaps_lie_inside_their_file_in_order_and_have_a_reason(tmp_path, published, gaps):
    tracks = json.loads(published[0].sidecar.read_text())["tracks"]
    tracks["user"]["gaps"] = gaps
    change(published[0].sidecar, tracks=tracks)
    assert any("gap" in problem for _, problem in problems(tmp_path))


def test_a_missing_file_in_the_middle_is_a_hole(archive):
    delete(archive, "*_000001_*")
    assert "sequence number 000001 before it is missing" in {
        problem for _, problem in problems(archive)
    }


def test_missing_files_at_the_end_are_known_by_the_closing_record(archive):
    delete(archive, "*_000002_*")
    assert {problem for _, problem in problems(archive)} == {
        f"counts 3 {what} files, 2 are here" for what in LAYOUT.files
    }


def test_kinds_of_which_nothing_is_left_are_known_by_the_closing_record(archive):
    delete(archive, "*_bot.*")
    assert only_problem(archive)[1] == "counts 3 bot files, none is here"


def test_files_deleted_from_the_front_are_no_error(tmp_path, published):
    take(published, 0)
    assert verify(tmp_path).ok
    assert {problem for _, problem in problems(tmp_path, "info")} == {
        "the session's earlier files are not here"
    }


@pytest.mark.parametrize("missing_before", [0, 7])
def test_a_hole_between_files_has_to_be_declared_exactly(tmp_path, missing_before):
    published = []
    with StorageRoot(tmp_path) as root:
        session = recording(root, published)
        session.write(quiet_span(0, 50), REPORTS)
        session.skip_to(60)
        session.write(quiet_span(60, 50), REPORTS)
        session.finish("stop")
    assert verify(tmp_path).ok
    assert problems(tmp_path, "info")[0][1] == "10 frames before it could not be written"
    change(published[1].sidecar, missing_before=missing_before)
    assert "declared missing" in only_problem(tmp_path)[1]


def test_files_may_not_overlap(tmp_path, published):
    change(published[3].sidecar, start_frame=90, tracks={})
    assert any("begins at frame 90, before" in problem for _, problem in problems(tmp_path))


def test_a_closing_record_must_agree_with_the_files(tmp_path, published):
    tracks = {"user": {"gaps": {}}, "bot": {"gaps": {"stall": {"count": 1, "frames": 3}}}}
    change(published[-1].path, frames=240, tracks=tracks)
    found = {problem.split(",")[0] for _, problem in problems(tmp_path)}
    assert "the session ends at frame 240" in found
    assert "says 240 frames and 0 of them missing" in found
    assert any(problem.startswith("bot's gaps are {'stall': 3} frames") for problem in found)


def test_a_session_that_goes_on_has_no_closing_record_yet(tmp_path, published):
    published[-1].path.unlink()
    assert verify(tmp_path).ok
    assert "no closing record" in problems(tmp_path, "info")[0][1]


def test_a_second_copy_of_a_file_is_pointed_out_and_counted_once(tmp_path, published):
    shutil.copytree(tmp_path / "ready", tmp_path / "copy")
    report = verify(tmp_path)
    assert report.ok
    assert report.files == 18
    assert sum("is a second" in finding.problem for finding in report.findings) == 9


def test_gap_totals_of_the_closing_record_match_chunks_with_every_reason(tmp_path):
    for reason in GapReason:
        top = tmp_path / reason.label
        record(top, [quiet_span(0, 30, reason)], cutting=Cutting(20, 10**9))
        assert verify(top).findings == ()


def test_progress_says_how_many_files_of_how_many_are_done(tmp_path, published):
    steps = []
    verify(tmp_path, lambda done, total: steps.append((done, total)))
    assert steps == [(done, 9) for done in range(10)]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"listing .*gone: No such file"):
        verify(tmp_path / "gone")

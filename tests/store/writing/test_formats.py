"""Compressed formats from the first frame to recovery: what holds for WAV holds for them."""

import errno
import json
from contextlib import suppress
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import soundfile

from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.store.records.layout import Layout
from edgerec.store.records.naming import FORMS
from edgerec.store.root import StorageRoot
from edgerec.store.writing.recover import recover
from edgerec.store.writing.rotation import Cutting
from edgerec.store.writing.wav import parse_wav_header
from tests.rigs.failing_disk import Killed, failing_call, open_files, recorded_calls
from tests.rigs.made_recordings import (
    REPORTS,
    audio,
    chunks,
    quiet_span,
    record,
    recording,
    sidecar,
    spans,
    stamp_of,
    stream,
)

NOW = stamp_of(10_000)
COMPRESSED = ("flac", "opus")
CHUNK = 4_000
CUTTING = Cutting(CHUNK, 10**9)


@pytest.fixture
def memory_path():
    """Hundreds of recordings made at once need no real disk."""
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def layout(form):
    return Layout(8_000, 2, separate_tracks=True, format=form)


def suffixes_in(folder):
    return {path.suffix for path in folder.rglob("*") if path.is_file()}


def decoded(path):
    return soundfile.read(path, dtype="int16", always_2d=True)[0]


@pytest.mark.parametrize("form", COMPRESSED)
def test_every_file_is_of_the_form_asked_for_and_its_sidecar_says_so(tmp_path, form):
    pcm, reasons = stream(10_000)
    published = record(
        tmp_path, spans(pcm, reasons, [999] * 8), layout=layout(form), cutting=CUTTING
    )
    assert [one.path.suffix for one in published] == [FORMS[form].suffix] * 9 + [".json"]
    for one in published[:-1]:
        described = sidecar(one)
        assert described["file"] == one.path.name
        assert described["format"]["container"] == FORMS[form].container
        assert described["format"]["codec"] == FORMS[form].codec
        assert soundfile.info(one.path).frames == described["frames"] == one.frames
    assert verify(tmp_path).ok
    assert suffixes_in(tmp_path / "ready") == {FORMS[form].suffix, ".json"}
    assert not list((tmp_path / ".work").iterdir())


def test_flac_holds_the_very_samples_of_the_wav_file(tmp_path):
    pcm, reasons = stream(10_000)
    as_wav, as_flac = (
        record(tmp_path / form, spans(pcm, reasons, []), layout=layout(form), cutting=CUTTING)[:-1]
        for form in ("wav", "flac")
    )
    for one, other in zip(as_wav, as_flac, strict=True):
        assert audio(one.path) == decoded(other.path).tobytes()
        one_says, other_says = sidecar(one), sidecar(other)
        for name in ("file", "bytes", "sha256", "format"):
            del one_says[name], other_says[name]
        assert one_says == other_says


@pytest.mark.parametrize("form", COMPRESSED)
def test_a_long_chunk_leaves_no_work_for_its_end(tmp_path, form):
    pcm, reasons = stream(80_000)
    reasons[:] = 0
    with StorageRoot(tmp_path) as root:
        session = recording(root, [], layout=layout(form))
        for span in spans(pcm, reasons, [2_000] * 40):
            session.write(span, REPORTS)
        [file] = root.work.glob(f"*_chunk{FORMS[form].suffix}")
        there_before = file.stat().st_size
        session.finish("stop")
    [whole] = (tmp_path / "ready").rglob(f"*_chunk{FORMS[form].suffix}")
    # An encoder holds back one block (FLAC: 4096 frames) or page (Ogg: about a second) of ten.
    assert whole.stat().st_size - there_before < 0.15 * whole.stat().st_size


@pytest.mark.parametrize("form", FORMS)
def test_the_date_in_a_file_is_the_one_known_when_it_is_published(tmp_path, form):
    trusted = [False]
    with StorageRoot(tmp_path) as root:
        published = []
        session = recording(
            root,
            published,
            layout=layout(form),
            stamps=lambda frame: stamp_of(frame + 500 * trusted[0], trusted=trusted[0]),
        )
        session.write(quiet_span(0, 2_000), REPORTS)
        trusted[0] = True
        session.finish("stop")
    for one in published[:-1]:
        date = sidecar(one)["started_at"]
        assert date == "2026-11-22T10:15:00.623456Z"
        if form == "wav":
            assert date.encode() in parse_wav_header(one.path.read_bytes()).bext
        else:
            with soundfile.SoundFile(one.path) as file:
                assert file.date == date


@pytest.mark.parametrize("form", COMPRESSED)
def test_after_a_kill_every_frame_that_was_written_is_published_as_wav(tmp_path, form):
    pcm, reasons = stream(3_000)
    with StorageRoot(tmp_path) as root:
        session = recording(root, [], layout=layout(form))
        for span in spans(pcm, reasons, [400] * 7):
            session.write(span, REPORTS)
        done = recover(root, NOW)
    assert {one.path.suffix for one in done.published} == {".wav", ".json"}
    [chunk] = chunks(done.published)
    assert audio(chunk.path) == layout("wav").samples("chunk", pcm).tobytes()
    assert verify(tmp_path).ok
    assert suffixes_in(tmp_path / ".work") == suffixes_in(tmp_path / "quarantine") == set()


def test_compressed_files_count_only_when_all_of_them_are_durable(tmp_path):
    """Error injection can't see a missing fsync; only the order of calls can."""
    with StorageRoot(tmp_path) as root:
        session = recording(root, [], layout=layout("flac"), stamps=untrusted, utc_wait_s=1e9)
        session.write(quiet_span(0, 2_000), REPORTS)
        session.sync()
        with recorded_calls() as calls:
            session.rotate("rotate")
    stem = "9f3a01c2_000000_"
    closing = calls.index(("fdatasync", f"{stem}chunk.journal"))
    whats = ("chunk", "user", "bot")
    assert sorted(calls[closing - 3 : closing]) == sorted(
        ("fsync", f"{stem}{what}.flac") for what in whats
    )
    assert calls[closing + 1 :] == [("unlink", f"{stem}{what}.wav") for what in whats]


def untrusted(frame):
    return stamp_of(frame, trusted=False)


@pytest.mark.parametrize("form", COMPRESSED)
def test_what_waits_for_the_clock_when_the_process_is_killed_keeps_its_form(tmp_path, form):
    with StorageRoot(tmp_path) as root:
        session = recording(root, [], layout=layout(form), stamps=untrusted, utc_wait_s=1e9)
        session.write(quiet_span(0, 2_000), REPORTS)
        session.rotate("rotate")
        assert suffixes_in(root.work) == {FORMS[form].suffix, ".journal"}
        published = recover(root, NOW).published
    assert [one.path.suffix for one in published] == [FORMS[form].suffix] * 3 + [".json"]
    assert (sidecar(published[0])["recovered"], published[0].end_reason) == (False, "rotate")
    assert verify(tmp_path).ok


@pytest.mark.parametrize("form", COMPRESSED)
def test_a_file_of_another_length_or_shape_than_described_is_found(tmp_path, form):
    one, *_others, _closing = record(tmp_path, [quiet_span(0, 2_000)], layout=layout(form))
    described = sidecar(one)
    described["format"]["sample_rate"] = 48_000
    described["format"]["channels"] = ["mix"]
    described["frames"] = 1_999
    one.sidecar.chmod(0o640)
    one.sidecar.write_text(json.dumps(described))
    problems = [find.problem for find in verify(tmp_path).findings if find.path == one.path]
    assert "has 2000 frames, its sidecar says 1999" in problems
    assert "has 8000 Hz, its sidecar says 48000" in problems
    assert "has 2 channels, its sidecar says 1" in problems


@pytest.mark.parametrize("form", COMPRESSED)
def test_a_file_that_is_not_of_its_form_is_found(tmp_path, form):
    one, *_others, _closing = record(tmp_path, [quiet_span(0, 2_000)], layout=layout(form))
    one.path.chmod(0o640)
    one.path.write_bytes(b"no recording")
    problems = [find.problem for find in verify(tmp_path).findings if find.path == one.path]
    assert any(problem.startswith(f"reading {one.path}: ") for problem in problems)


def take_away(root, archive):
    """Do what a sync job does: move what is complete; return its names, without suffix."""
    taken = []
    for path in sorted(root.ready.rglob("*")):
        if path.suffix in {form.suffix for form in FORMS.values()}:
            taken.append(path.stem)
            for file in (path, path.with_suffix(".json")):
                target = archive / file.relative_to(root.ready)
                target.parent.mkdir(parents=True, exist_ok=True)
                file.rename(target)
    return taken


def test_a_kill_at_any_disk_call_loses_nothing_and_publishes_nothing_twice(memory_path):
    form = "flac"  # to the disk, Opus is the same
    suffixes = set()
    for nth in count(1):
        archive = memory_path / f"archive{nth}"
        archive.mkdir()
        with StorageRoot(memory_path / str(nth)) as root:
            session = recording(root, [], layout=layout(form), cutting=CUTTING)
            with failing_call(nth, None) as calls, suppress(Killed):
                for start in (0, 3_000):
                    session.write(quiet_span(start, 3_000), REPORTS)
                session.finish("stop")
            written, made = session.position, calls()
            taken = take_away(root, archive)  # nobody waits for recovery
            recover(root, NOW)
            assert not list(root.work.iterdir())
            assert not list(root.quarantine.iterdir())
            taken += take_away(root, archive)
        assert len(taken) == len(set(taken))
        assert verify(archive).ok
        assert sum(soundfile.info(path).frames for path in audio_in(archive)) >= 3 * written
        suffixes |= suffixes_in(archive)
        if made < nth:
            break
    assert nth > 60
    assert suffixes == {".wav", FORMS[form].suffix, ".json"}  # killed before and after its end


def audio_in(folder):
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"]


def test_a_disk_that_fails_at_any_call_costs_no_frame_that_is_still_in_memory(memory_path):
    form = "flac"
    for nth in count(1):
        path = memory_path / str(nth)
        with StorageRoot(path) as root:
            session = recording(root, [], layout=layout(form), cutting=CUTTING)
            with failing_call(nth, errno.ENOSPC) as calls:
                while session.position < 5_000:
                    try:
                        session.write(quiet_span(session.position, 2_500), REPORTS)
                    except StoreError:
                        session.resume()
                made = calls()
            session.finish("stop")
            assert open_files(root.work) == []
            assert not list(root.work.iterdir())
        assert verify(path).ok
        assert (
            sum(soundfile.info(file).frames for file in audio_in(path / "ready"))
            == 3 * session.position
        )
        if made < nth:
            break
    assert nth > 60

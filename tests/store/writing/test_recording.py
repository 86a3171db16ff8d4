"""A recording on the disk: chunks tile the session, and files are what their sidecars say."""

import wave

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import GapReason, TrackReport
from edgerec.store.records import gap_map
from edgerec.store.records.layout import Layout
from edgerec.store.writing import recording as writer
from edgerec.store.writing.rotation import Cutting
from tests.rigs.made_recordings import (
    FOREVER,
    RATE,
    REPORTS,
    audio,
    chunks,
    quiet_span,
    record,
    recording,
    sidecar,
    spans,
    stream,
)


def assert_tiles(published, pcm, reasons):
    """Chunks follow each other to the frame, and their gaps say of every frame what it is."""
    drawn = np.zeros_like(reasons)
    expected = 0
    for sequence, one in enumerate(chunks(published)):
        described = sidecar(one)
        assert described["sequence"] == sequence
        assert described["start_frame"] == expected
        assert described["missing_before"] == 0
        expected += described["frames"]
        for track, name in enumerate(("user", "bot")):
            for gap in described["tracks"][name]["gaps"]:
                start, stop = gap["start_frame"], gap["start_frame"] + gap["frames"]
                assert described["start_frame"] <= start < stop <= expected
                drawn[track, start:stop] = GapReason[gap["reason"].upper()]
    assert expected == pcm.shape[1]
    assert (drawn == reasons).all()


@settings(max_examples=25, deadline=None)
@given(
    frames=st.integers(1, 400),
    chunk_frames=st.integers(7, 500),
    sizes=st.lists(st.integers(0, 90), max_size=12),
    num_channels=st.sampled_from([1, 2]),
    seed=st.integers(0, 9),
)
def test_any_cutting_of_a_stream_gives_the_same_audio_and_tiles_it_exactly(
    tmp_path_factory, frames, chunk_frames, sizes, num_channels, seed
):
    pcm, reasons = stream(frames, seed)
    layout = Layout(RATE, num_channels, separate_tracks=True)
    root = tmp_path_factory.mktemp("root")
    whole = record(root / "whole", spans(pcm, reasons, []), layout=layout)
    cut = record(
        root / "cut",
        spans(pcm, reasons, sizes),
        layout=layout,
        cutting=Cutting(chunk_frames, FOREVER),
    )
    for what in layout.files:
        [one] = [file for file in whole if file.what == what]
        pieces = [audio(file.path) for file in cut if file.what == what]
        assert audio(one.path) == b"".join(pieces)
    assert_tiles(cut, pcm, reasons)
    *full, last = chunks(cut)
    assert all((one.frames, one.end_reason) == (chunk_frames, "full") for one in full)
    assert last.end_reason == ("full" if last.frames == chunk_frames else "stop")


@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(1, 90), max_size=12))
def test_sidecars_do_not_depend_on_how_the_audio_arrived(tmp_path_factory, sizes):
    pcm, reasons = stream(300)
    cutting = Cutting(100, FOREVER)
    root = tmp_path_factory.mktemp("root")
    at_once = record(root / "a", spans(pcm, reasons, []), cutting=cutting)
    in_pieces = record(root / "b", spans(pcm, reasons, sizes), cutting=cutting)
    assert [sidecar(one) for one in at_once] == [sidecar(one) for one in in_pieces]


def test_published_files_are_what_their_sidecars_say(tmp_path):
    pcm, reasons = stream(250)
    for one in chunks(record(tmp_path, spans(pcm, reasons, []), cutting=Cutting(100, FOREVER))):
        described = sidecar(one)
        assert one.path.name == described["file"]
        assert one.path.stat().st_size == described["bytes"]
        assert one.sidecar == one.path.with_suffix(".json")
        with wave.open(str(one.path)) as file:
            assert file.getnframes() == described["frames"] == one.frames
            assert file.getframerate() == described["format"]["sample_rate"]


def test_files_are_in_folders_by_kiosk_and_date_under_names_by_start(tmp_path):
    first, second, closing = record(tmp_path, [quiet_span(0, 200)], cutting=Cutting(100, FOREVER))
    folder = tmp_path / "ready" / "kiosk=k1" / "date=2026-11-22"
    assert first.path == folder / "20261122T101500.123Z_9f3a01c2_000000_chunk.wav"
    assert second.path == folder / "20261122T101500.223Z_9f3a01c2_000001_chunk.wav"
    assert closing.path == folder / "20261122T101500.123Z_9f3a01c2_000000_session.json"
    assert not list((tmp_path / ".work").iterdir())


def test_rotating_ends_the_chunk_and_the_next_begins_on_the_very_next_frame(root):
    published = []
    session = recording(root, published, cutting=Cutting(100, FOREVER))
    session.write(quiet_span(0, 130), REPORTS)
    session.rotate("reload")
    session.rotate("pause")  # nothing is in progress: nothing to end
    session.write(quiet_span(130, 100), REPORTS)
    session.finish("stop")
    assert [(one.start_frame, one.frames, one.end_reason) for one in chunks(published)] == [
        (0, 100, "full"),
        (100, 30, "reload"),
        (130, 100, "full"),
    ]


def test_frames_that_could_not_be_written_are_declared_by_the_next_chunk_and_the_session(root):
    published = []
    session = recording(root, published)
    session.write(quiet_span(0, 50), REPORTS)
    session.skip_to(80)
    session.write(quiet_span(80, 20), REPORTS)
    session.finish("stop")
    first, second, closing = map(sidecar, published)
    assert (first["frames"], first["end_reason"], first["missing_before"]) == (50, "disk", 0)
    assert (second["start_frame"], second["missing_before"]) == (80, 30)
    assert (closing["frames"], closing["losses"]) == (100, {"disk": 30})


def test_frames_missing_at_the_end_are_declared_by_the_session(root):
    published = []
    session = recording(root, published)
    session.write(quiet_span(0, 50), REPORTS)
    session.skip_to(80)
    session.finish("stop")
    assert sidecar(published[-1])["losses"] == {"disk": 30}


def test_time_does_not_run_backwards(root):
    session = recording(root, [])
    session.write(quiet_span(0, 50), REPORTS)
    with pytest.raises(ValueError, match="span begins at frame 49, expected 50"):
        session.write(quiet_span(49, 10), REPORTS)
    with pytest.raises(ValueError, match="can't skip back from frame 50 to 49"):
        session.skip_to(49)


def test_a_file_never_grows_past_what_its_format_can_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "max_wav_frames", lambda channels: 60 // channels)
    published = record(tmp_path, [quiet_span(0, 100)])
    assert [one.frames for one in chunks(published)] == [30, 30, 30, 10]


def test_max_file_frames_is_the_ceiling_whatever_the_chunk_length(tmp_path):
    published = record(tmp_path, [quiet_span(0, 100)], cutting=Cutting(90, 40))
    assert [one.frames for one in chunks(published)] == [40, 40, 20]


def test_aligned_chunks_begin_where_utc_is_a_multiple(tmp_path):
    published = record(
        tmp_path,
        [quiet_span(start, 7) for start in range(0, 35000, 7)],
        cutting=Cutting(10 * RATE, FOREVER, align_to_clock=True),
    )
    assert [sidecar(one)["started_at"][17:23] for one in chunks(published)] == [
        "00.123",  # 10:15:00.1235 is where the session begins
        "10.000",
        "20.000",
        "30.000",
    ]


def test_a_chunk_with_as_many_gaps_as_a_sidecar_may_list_ends_there(tmp_path, monkeypatch):
    monkeypatch.setattr(gap_map, "MAX_CHANGES", 4)
    pcm, reasons = stream(60)
    reasons[:] = 0
    reasons[0, ::2] = GapReason.OVERRUN
    published = record(tmp_path, spans(pcm, reasons, [7, 1, 30]))
    assert {one.end_reason for one in chunks(published)} == {"rotate", "stop"}
    assert all(len(sidecar(one)["tracks"]["user"]["gaps"]) <= 4 for one in chunks(published))
    assert_tiles(published, pcm, reasons)


def test_a_gap_across_chunks_is_in_each_of_them(tmp_path):
    published = record(
        tmp_path, [quiet_span(0, 50), quiet_span(50, 100, GapReason.ABSENT)],
        cutting=Cutting(100, FOREVER),
    )  # fmt: skip
    gaps = [sidecar(one)["tracks"]["bot"]["gaps"] for one in chunks(published)]
    assert gaps == [
        [{"start_frame": 50, "frames": 50, "reason": "absent"}],
        [{"start_frame": 100, "frames": 50, "reason": "absent"}],
    ]
    assert sidecar(published[-1])["tracks"]["bot"]["gaps"] == {
        "absent": {"count": 2, "frames": 100}
    }


def test_late_frames_are_counted_once_over_the_chunks(root):
    published = []
    session = recording(root, published, cutting=Cutting(100, FOREVER))
    for start, late in ((0, 3), (50, 3), (100, 10), (150, 11)):
        session.write(quiet_span(start, 50), REPORTS | {"bot": TrackReport(late_frames=late)})
    assert [sidecar(one)["tracks"]["bot"]["late_frames"] for one in published] == [3, 8]


def test_the_stated_residual_holds_for_all_of_a_chunk(root):
    """Early in a session the tracks' places are less certain: that is what a chunk must say."""
    published = []
    session = recording(root, published, cutting=Cutting(100, FOREVER))
    for start, residual_us in ((0, 900.0), (50, 40.0), (100, 30.0), (150, None)):
        reports = {"user": TrackReport("mic", 31.0, residual_us), "bot": TrackReport()}
        session.write(quiet_span(start, 50), reports)
    stated = [sidecar(one)["tracks"]["user"]["residual_us"] for one in published]
    assert stated == [900.0, 30.0]


def test_a_session_without_a_frame_has_its_closing_record_all_the_same(tmp_path):
    [closing] = record(tmp_path, [])
    described = sidecar(closing)
    assert (described["kind"], described["frames"], described["files"]) == ("session", 0, {})


def test_closing_record_counts_files_and_gaps(tmp_path):
    pcm, reasons = stream(250, seed=3)
    layout = Layout(RATE, 2, separate_tracks=True)
    published = record(
        tmp_path, spans(pcm, reasons, []), cutting=Cutting(100, FOREVER), layout=layout
    )
    closing = sidecar(published[-1])
    assert closing["files"] == {"chunk": 3, "user": 3, "bot": 3}
    for track, name in enumerate(("user", "bot")):
        lost = {
            reason: total["frames"] for reason, total in closing["tracks"][name]["gaps"].items()
        }
        codes, frames = np.unique(reasons[track][reasons[track] != 0], return_counts=True)
        assert lost == {
            GapReason(code).label: count for code, count in zip(codes, frames.tolist(), strict=True)
        }

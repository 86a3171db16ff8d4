import dataclasses
import json

import pytest

from edgerec import __version__
from edgerec.audio import Gap, GapReason
from edgerec.store.records.gap_map import Levels
from edgerec.store.records.layout import Layout
from edgerec.store.records.naming import FORMS
from edgerec.store.records.sidecar import (
    ChunkFacts,
    FileFacts,
    GapTotal,
    SessionFacts,
    TrackFacts,
    describe_file,
    describe_session,
    encode,
    kind_of,
)
from tests.rigs.made_recordings import REPORTS, SESSION, stamp_of

WAV = FORMS["wav"]
FACTS = ChunkFacts(
    session=SESSION,
    sequence=12,
    layout=Layout(
        16000,
        2,
        separate_tracks=True,
        latency_ms={"user": 12.0},
        latency_source={"user": "configured"},
    ),
    start=11520000,
    frames=960000,
    missing_before=0,
    stamp=stamp_of(0),
    end_reason="full",
    tracks={
        "user": TrackFacts(
            REPORTS["user"], 3, 240, (Gap(11530000, 480, GapReason.XRUN),), Levels(-3.1, -24.0, 5)
        ),
        "bot": TrackFacts(REPORTS["bot"], 0, 0, (), Levels(None, None, 0)),
    },
)
BOT = {
    "device": "loopback",
    "drift_ppm": None,
    "residual_us": None,
    "echo_delay_ms": None,
    "echo_return_db": None,
    "latency_ms": {"value": None, "source": "unknown"},
    "late_frames": 0,
    "refused_frames": 0,
    "gaps": [],
    "peak_dbfs": None,
    "rms_dbfs": None,
    "clipped": 0,
}


def test_sidecar_of_a_chunk_is_the_contracts():
    assert describe_file(FACTS, "chunk", FileFacts("x.wav", WAV, 3840044, "abc")) == {
        "schema": "edgerec/1",
        "kind": "chunk",
        "kiosk": "k1",
        "session": "9f3a01c2",
        "session_number": 41,
        "sequence": 12,
        "file": "x.wav",
        "bytes": 3840044,
        "sha256": "abc",
        "format": {
            "container": "wav",
            "codec": "pcm_s16le",
            "sample_rate": 16000,
            "channels": ["user", "bot"],
        },
        "start_frame": 11520000,
        "frames": 960000,
        "missing_before": 0,
        "started_at": "2026-11-22T10:15:00.123456Z",
        "utc_trusted": True,
        "utc_error_ms": 0.4,
        "monotonic_ns": 123,
        "boot_id": "boot",
        "end_reason": "full",
        "recovered": False,
        "tracks": {
            "user": {
                "device": "mic",
                "drift_ppm": 31.25,
                "residual_us": 18.0,
                "echo_delay_ms": 62.0,
                "echo_return_db": -9.5,
                "latency_ms": {"value": 12.0, "source": "configured"},
                "late_frames": 3,
                "refused_frames": 240,
                "gaps": [{"start_frame": 11530000, "frames": 480, "reason": "xrun"}],
                "peak_dbfs": -3.1,
                "rms_dbfs": -24.0,
                "clipped": 5,
            },
            "bot": BOT,
        },
        "turn": None,
        "software": f"edgerec {__version__}",
    }


def test_sidecar_of_a_track_tells_of_that_track_alone():
    sidecar = describe_file(FACTS, "bot", FileFacts("x.wav", WAV, 1, "abc"))
    assert sidecar["kind"] == "track"
    assert sidecar["format"]["channels"] == ["bot"]
    assert sidecar["tracks"] == {"bot": BOT}


@pytest.mark.parametrize("num_channels", [1, 2])
def test_sidecar_of_a_chunk_tells_of_both_tracks_even_when_they_are_mixed(num_channels):
    layout = Layout(16000, num_channels)
    facts = dataclasses.replace(FACTS, layout=layout)
    sidecar = describe_file(facts, "chunk", FileFacts("x.wav", WAV, 1, "abc"))
    assert list(sidecar["tracks"]) == ["user", "bot"]
    assert len(sidecar["format"]["channels"]) == num_channels


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("chunk", "chunk"),
        ("user", "track"),
        ("bot", "track"),
        ("turn-user", "turn"),
        ("session", "session"),
    ],
)
def test_kind_follows_from_what_the_file_holds(what, kind):
    assert kind_of(what) == kind


def test_closing_record_has_the_whole_session_in_totals():
    facts = SessionFacts(
        session=SESSION,
        sample_rate=16000,
        frames=1000,
        missing={"disk": 30},
        start=stamp_of(0),
        end=stamp_of(1000),
        end_reason="stop",
        files={"chunk": 3, "user": 3},
        gaps={"user": {GapReason.STALL: GapTotal(2, 70)}, "bot": {}},
    )
    assert describe_session(facts) == {
        "schema": "edgerec/1",
        "kind": "session",
        "kiosk": "k1",
        "session": "9f3a01c2",
        "session_number": 41,
        "sequence": 0,
        "previous_session": "00c0ffee",
        "sample_rate": 16000,
        "start_frame": 0,
        "frames": 1000,
        "started_at": "2026-11-22T10:15:00.123456Z",
        "utc_trusted": True,
        "utc_error_ms": 0.4,
        "monotonic_ns": 123,
        "boot_id": "boot",
        "end": {
            "ended_at": "2026-11-22T10:15:01.123456Z",
            "utc_trusted": True,
            "utc_error_ms": 0.4,
            "monotonic_ns": 1_000_000_123,
            "boot_id": "boot",
        },
        "end_reason": "stop",
        "recovered": False,
        "files": {"chunk": 3, "user": 3},
        "tracks": {"user": {"gaps": {"stall": {"count": 2, "frames": 70}}}, "bot": {"gaps": {}}},
        "losses": {"disk": 30},
        "software": f"edgerec {__version__}",
    }


def test_sidecars_are_one_json_object_in_utf8():
    data = encode({"device": "Mikrofon für Gäste"})
    assert json.loads(data.decode("utf-8")) == {"device": "Mikrofon für Gäste"}
    assert "für" in data.decode("utf-8")


def test_a_name_that_is_no_valid_text_keeps_no_audio_from_being_published():
    assert json.loads(encode({"device": "\ud800"}).decode()) == {"device": "\ud800"}

"""The reader of the campaign of faults finds what is wrong with a recording."""

import hashlib
import json
import wave

import numpy as np
import pytest

from tests.rigs.faults.reader import Reader, _sampled, _world

RATE = 16_000
SEED = 1
S = 1_000_000_000
SPEAKS_S = 18.5  # when the user of this world does


def chunk(archive, sequence, start_s, *, shift_s=0.0, **changes):
    """Publish a chunk of a second, of what the world's user says."""
    first_s = SPEAKS_S + start_s + shift_s
    user = _sampled(_world(SEED)("user"), first_s, RATE, RATE) * 32_767
    pcm = np.stack([user.astype("<i2"), np.zeros(RATE, "<i2")], axis=1)
    audio = archive / f"{sequence:06d}.wav"
    with wave.open(str(audio), "wb") as file:
        file.setparams((2, 2, RATE, 0, "NONE", ""))
        file.writeframes(pcm.tobytes())
    data = audio.read_bytes()
    described = {
        "kind": "chunk",
        "session": "9f3a01c2",
        "sequence": sequence,
        "file": audio.name,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "format": {"sample_rate": RATE},
        "start_frame": round(start_s * RATE),
        "frames": RATE,
        "missing_before": 0,
        "monotonic_ns": round((SPEAKS_S + start_s) * S),
        "tracks": {"user": {"gaps": []}, "bot": {"gaps": []}},
        **changes,
    }
    audio.with_suffix(".json").write_text(json.dumps(described))


@pytest.fixture
def reader(tmp_path):
    return Reader(tmp_path, [(0, 0)], 0, SEED)


def test_a_recording_of_what_was_played_is_right(reader, tmp_path):
    for sequence in range(4):
        chunk(tmp_path, sequence, float(sequence))
    assert reader.read() == []
    assert reader.tiling() == []
    assert reader.interruption_s(0, 100 * S) == 0
    assert reader.tiling(all_closed=True) == ["9f3a01c2: it was never closed"]


def test_sound_that_stands_elsewhere_is_found(reader, tmp_path):
    chunk(tmp_path, 0, 0.0, shift_s=0.5)
    assert "was not played" in reader.read()[0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sha256": "0" * 64}, "its sum is wrong"),
        ({"bytes": 3}, "bytes, not 3"),
        ({"frames": 15_999}, "frames, not 15999"),
        ({"tracks": {"user": {"gaps": [{"start_frame": 0, "frames": RATE, "reason": "stall"}]}}},
         "there is sound in the gap"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_what_its_sidecar_says_is_found(reader, tmp_path, changes, problem):
    chunk(tmp_path, 0, 0.0, **changes)
    assert any(problem in one for one in reader.read())


def test_a_hole_that_nothing_declares_is_found(reader, tmp_path):
    chunk(tmp_path, 0, 0.0)
    chunk(tmp_path, 1, 3.0)
    reader.read()
    assert reader.tiling() == ["9f3a01c2: 1 begins at 48000, not 16000"]
    assert reader.interruption_s(0, 100 * S) == 2.0


def test_a_hole_that_is_declared_is_lost_frames(reader, tmp_path):
    chunk(tmp_path, 0, 0.0)
    chunk(tmp_path, 1, 3.0, missing_before=2 * RATE)
    reader.read()
    assert reader.tiling() == []
    assert reader.lost_between(0, 100 * S) == {"missing": 2 * RATE}


def test_a_chunk_that_is_gone_and_one_that_is_dated_wrong_are_found(reader, tmp_path):
    chunk(tmp_path, 0, 0.0)
    chunk(tmp_path, 1, 1.0, monotonic_ns=round((SPEAKS_S + 1.01) * S))
    chunk(tmp_path, 3, 2.0)
    reader.read()
    assert reader.tiling() == [
        "9f3a01c2: 1 is dated 10.0 ms off",
        "9f3a01c2: 2 is missing",
    ]

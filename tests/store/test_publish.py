import errno
import stat

import pytest

from edgerec.store import disk
from edgerec.store.disk import StoreError
from edgerec.store.publish import fingerprint, publish
from tests.rigs.failing_disk import failing_call, recorded_calls


@pytest.fixture
def place(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "ready").mkdir()
    (tmp_path / "work" / "a.wav").write_bytes(b"audio")
    return tmp_path


def publish_in(place, stem="A"):
    work = place / "work"
    return publish(work / "a.wav", b"{}", work, place / "ready", stem)


def test_audio_is_synced_first_and_named_last_with_its_sidecar_durable_between(place):
    """Error injection can't see a missing fsync; only the order of calls can."""
    with recorded_calls() as calls:
        publish_in(place)
    assert calls == [
        ("fsync", "a.wav"),
        ("fsync", "A.json"),
        ("rename", "A.json"),
        ("fsync", "ready"),
        ("rename", "A.wav"),
        ("fsync", "ready"),
        ("fsync", "work"),
    ]


def test_published_files_have_their_content_and_nobody_may_write_them(place):
    assert publish_in(place) == place / "ready" / "A.json"
    assert (place / "ready" / "A.wav").read_bytes() == b"audio"
    assert (place / "ready" / "A.json").read_bytes() == b"{}"
    for file in (place / "ready").iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o222 == 0
    assert not list((place / "work").iterdir())


@pytest.mark.parametrize("name", ["A.wav", "A.json"])
def test_publishing_never_overwrites(place, name):
    (place / "ready" / name).write_bytes(b"earlier")
    with pytest.raises(StoreError, match="File exists"):
        publish_in(place)
    assert (place / "ready" / name).read_bytes() == b"earlier"
    assert (place / "work" / "a.wav").read_bytes() == b"audio"


def test_a_record_without_audio_is_published_alone(place):
    work = place / "work"
    with recorded_calls() as calls:
        publish(None, b"{}", work, place / "ready", "S")
    assert calls == [("fsync", "S.json"), ("rename", "S.json"), ("fsync", "ready")]
    assert [file.name for file in (place / "ready").iterdir()] == ["S.json"]


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_publishing_that_fails_says_so_and_leaves_the_audio_under_exactly_one_name(place, error):
    work, ready = place / "work", place / "ready"
    for nth in range(1, 40):
        stem = f"A{nth}"
        (work / "a.wav").unlink(missing_ok=True)
        (work / "a.wav").write_bytes(b"audio")
        with failing_call(nth, error) as calls:
            try:
                publish_in(place, stem)
            except StoreError as failure:
                assert failure.errno == error
            else:
                assert calls() < nth  # no failure was swallowed
        assert (work / "a.wav").exists() != (ready / f"{stem}.wav").exists()
        assert (ready / f"{stem}.json").exists() or not (ready / f"{stem}.wav").exists()
        if calls() < nth:
            break
    # audio: stat, chmod, open, fsync; sidecar: open, write, fsync, stat, chmod, rename; folder:
    # open, fsync; audio: rename; both folders: open, fsync; then one clean run
    assert nth == 18


def test_fingerprint_is_length_and_sha256_of_all_bytes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert fingerprint(path) == (
        3,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",  # FIPS 180-2, B.1
    )


def test_file_systems_without_renameat2_publish_too(place, monkeypatch):
    def rename(source, target):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(disk, "_rename_noreplace", rename)
    publish_in(place)
    assert sorted(file.name for file in (place / "ready").iterdir()) == ["A.json", "A.wav"]

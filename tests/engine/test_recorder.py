"""The threads together, on devices that deliver as fast as they are asked."""

import threading
from dataclasses import replace

import pytest

from edgerec import clock
from edgerec.audio import TRACKS, GapReason, StreamEnded
from edgerec.engine.engine import Engine
from edgerec.simulation.device import Absence, Handover
from edgerec.store.archive.verify import verify
from edgerec.store.root import RootHeldError, StorageRoot
from tests.rigs.fakes import LATENCY_NS, START_NS, S, config, device
from tests.rigs.long_runs import open_files
from tests.rigs.made_recordings import chunks, sidecar
from tests.rigs.recorder_rig import EagerSource, RunningClock, handed, wait_for_end
from tests.rigs.waiting import PATIENCE_S

RATE = 16_000


def record(root, sources, **recording):
    """Record seven seconds of the sources; return what is published of them."""
    published = []
    recorder = Engine(
        config(root, **recording),
        clock=RunningClock(),
        length_s=7.0,
        around=handed(sources, on_published=published.append),
    )
    wait_for_end(recorder)
    assert verify(root).ok
    return published


def test_a_session_of_given_length_is_published_and_closed(tmp_path, sources):
    published = record(tmp_path / "root", sources, chunk_seconds=2.0)
    assert [one.frames for one in chunks(published)] == [32_000, 32_000, 32_000, 16_000]
    assert published[-1].kind == "session"
    assert all(source.closed for source in sources.values())


def gaps(published, track):
    return [gap for one in chunks(published) for gap in sidecar(one)["tracks"][track]["gaps"]]


def test_a_device_that_vanishes_is_a_gap_in_its_own_track_and_ends_nothing(tmp_path, sources):
    sources["bot"] = EagerSource(device("bot", events=(Absence(3.0, 2.0),)))
    published = record(tmp_path / "root", sources)
    assert gaps(published, "user") == []
    (gap,) = gaps(published, "bot")
    assert gap["reason"] == "absent"
    # It takes the block with it that was being filled.
    assert gap["frames"] / RATE == pytest.approx(2.0, abs=0.1 + 2 / RATE)


def test_a_stream_that_turns_to_rubbish_is_a_gap_behind_what_came_before(tmp_path, sources, caplog):
    why = (
        "the capture child's output: malformed block stream at byte 9: not the beginning of a block"
    )
    ended = StreamEnded(GapReason.SOURCE, why)
    at_ns = START_NS + 3 * S + 2 * LATENCY_NS
    rubbish = Handover("bot", at_ns, ended, at_ns)
    sources["bot"] = EagerSource([*device("bot", seconds=2.95), rubbish])
    published = record(tmp_path / "root", sources)
    assert gaps(published, "user") == []
    (gap,) = gaps(published, "bot")
    assert (gap["start_frame"], gap["reason"]) == (3 * RATE, "source")
    assert gap["frames"] == 4 * RATE
    assert any(why in line for line in caplog.messages)


def test_leaving_the_recorder_stops_it_and_lets_the_next_one_in(tmp_path, sources):
    begun = threading.Event()
    with Engine(
        config(tmp_path / "root", chunk_seconds=1.0),
        clock=RunningClock(),
        around=handed(sources, on_published=lambda published: begun.set()),
    ):
        assert begun.wait(PATIENCE_S)
    with StorageRoot(tmp_path / "root") as root:
        assert list(root.work.iterdir()) == []
    assert verify(tmp_path / "root").ok


def test_a_recorder_that_has_ended_leaves_no_file_open(tmp_path, sources):
    record(tmp_path / "first", sources)  # what stays open for the next one is open now
    before = open_files()
    sources.update({track: EagerSource(device(track)) for track in TRACKS})
    record(tmp_path / "second", sources)
    assert open_files() <= before


def test_a_root_that_is_held_is_refused_before_any_device_is_opened(tmp_path, sources):
    with StorageRoot(tmp_path / "root"), pytest.raises(RootHeldError):
        Engine(config(tmp_path / "root"), clock=RunningClock(), around=handed(sources))
    assert not any(source.closed for source in sources.values())


@pytest.mark.parametrize("trust_rtc", [True, False])
def test_an_unsynchronised_clock_is_trusted_where_the_configuration_says_so(
    tmp_path, sources, monkeypatch, trust_rtc
):
    monkeypatch.setattr(clock, "kernel_clock_state", lambda: (False, None))
    monkeypatch.setattr(clock, "rtc_trouble", lambda utc_ns: None)
    asked = config(tmp_path / "root", auto_start=False)
    storage = replace(asked.storage, trust_rtc=trust_rtc)
    with Engine(replace(asked, storage=storage), around=handed(sources)) as recorder:
        assert recorder.status().clock.trusted is trust_rtc

"""Live audio of the timeline: the mix of both tracks, and what nobody waits for."""

import contextlib

import numpy as np
import pytest

from edgerec.audio import Block, BlockFlags, StreamHeader
from edgerec.session.timeline import SessionTimeline
from edgerec.sync.history import History
from edgerec.sync.synchronizer import TrackPlan
from tests.rigs.capture_rig import RATE, Sessioned, recording_loop
from tests.rigs.fakes import FakeSource, S, device
from tests.rigs.tap_rig import Reader, Service


@pytest.fixture
def service(socket_path):
    with contextlib.ExitStack() as stack:
        yield Service(socket_path, stack)


def test_live_audio_is_at_most_two_blocks_late_though_the_timeline_waits_for_the_other_track(
    service,
):
    """The bot's device comes up to 0.7 s late; nobody who listens to the user hears of it."""
    clock, taps = service.clock, service.taps
    plans = {"user": TrackPlan(), "bot": TrackPlan()}
    sources = {
        "user": FakeSource(device("user", block_ms=100.0)),
        "bot": FakeSource(device("bot", block_ms=700.0)),
    }
    sessions = []
    loop = recording_loop(
        sources,
        plans,
        clock,
        (Sessioned(sessions), taps),
    )
    reader, mix = Reader(service), Reader(service, "mix")
    heard_ns, mixed = [], 0
    sent = 0
    for _ in range(300):
        clock.raw_ns += S // 20
        loop.step(clock.raw_ns)
        service.step()
        for message in reader.read():
            if isinstance(message, Block):
                assert clock.raw_ns - message.arrived_ns <= S // 20  # the step of this test
                assert message.first_frame == sent  # and none is missing
                sent += message.frames
                heard_ns.append(message.arrived_ns)
        mixed += sum(message.frames for message in mix.read() if isinstance(message, Block))
    assert len(heard_ns) > 140
    assert mixed == sessions[0].history.committed > 12 * RATE


def timeline(clock, rate=16_000, capacity=160_000):
    history = History(capacity)
    return SessionTimeline(rate, history, lambda frame: None, {})


def extend(session, pcm):
    for track in range(2):
        session.history.append(track, pcm[track])
    session.history.commit(session.history.end(0))


def test_the_mix_is_both_tracks_on_the_timeline_held_at_full_scale(service):
    session = timeline(service.clock)
    extend(session, np.zeros((2, 1600), np.int16))
    service.taps.committed(session)
    reader = Reader(service, "mix")  # it begins with what comes from now on
    pcm = np.array([[1, 2, 30_000], [10, 20, 30_000]], np.int16)
    extend(session, pcm)
    service.taps.committed(session)
    service.step()
    header, block = reader.read()
    assert (header.sample_rate, header.channels, header.track) == (16_000, 1, "mix")
    assert np.frombuffer(block.pcm, "<i2").tolist() == [11, 22, 32_767]
    assert block.first_frame == 1600


def test_who_listens_when_a_session_begins_hears_all_of_its_mix_from_a_late_thread_too(service):
    reader = Reader(service, "mix")
    service.step()
    session = timeline(service.clock)
    for level in (1, 2, 3):
        extend(session, np.full((2, 100), level, np.int16))
        service.taps.committed(session)
    service.step()
    _, *blocks = reader.read()
    assert [(block.first_frame, block.frames, block.flags) for block in blocks] == [
        (0, 100, BlockFlags.NEW_STREAM),
        (100, 100, 0),
        (200, 100, 0),
    ]
    heard = np.frombuffer(b"".join(block.pcm for block in blocks), "<i2")
    assert heard.tolist() == [2] * 100 + [4] * 100 + [6] * 100


def test_the_mix_of_a_new_session_is_a_new_stream_and_a_late_thread_skips_what_is_lost(service):
    first, second = timeline(service.clock), timeline(service.clock, capacity=2_000)
    reader = Reader(service, "mix")
    for session in (first, second):
        service.taps.committed(session)
        service.step()
        extend(session, np.ones((2, 1_000), np.int16))
        service.taps.committed(session)
        service.step()
    for _ in range(3):
        extend(second, np.ones((2, 1_000), np.int16))
    service.taps.committed(second)
    service.step()
    extend(second, np.ones((2, 500), np.int16))
    service.taps.committed(second)
    service.step()
    messages = reader.read()
    assert [type(message) for message in messages] == [StreamHeader, Block] * 2 + [Block]
    assert [message.first_frame for message in messages if isinstance(message, Block)] == [
        *(0, 0),
        4_000,
    ]

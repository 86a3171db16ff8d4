"""Live audio in the program that records; both tracks are fed, in real time, without a pause."""

import socket
import threading
from dataclasses import replace

import numpy as np
import pytest

from edgerec import AsyncRecorder, ControlSocketError, Recorder, RecorderError
from edgerec.api.live_tap import Tap
from edgerec.audio import Block, StreamHeader
from edgerec.service.control.client import ServiceConnection, ServiceError
from edgerec.service.taps import Taps
from tests.api.test_asynchronous import run, settings
from tests.rigs.fakes import FakeClock
from tests.rigs.waiting import PATIENCE_S, wait_for

RATE = 16_000
SECOND = np.arange(RATE, dtype="<i2")


def test_the_audio_of_a_track_comes_block_by_block_in_order(tmp_path):
    with Recorder(settings(tmp_path)) as recorder, recorder.tap("bot") as tap:
        recorder.feed("bot", SECOND, RATE)
        blocks = [next(tap) for _ in range(10)]
    assert np.array_equal(np.concatenate([block.pcm[:, 0] for block in blocks]), SECOND)
    assert [block.frame for block in blocks] == list(range(0, RATE, RATE // 10))
    steps = np.diff([block.monotonic_ns for block in blocks])
    assert np.median(steps) == pytest.approx(0.1e9, abs=1e6)  # the queue plays without a pause
    assert {(block.lost, block.sample_rate) for block in blocks} == {(0, RATE)}


def test_speech_recognition_gets_its_own_rate_in_mono(tmp_path):
    stereo = np.stack([SECOND, -SECOND + 2_000], axis=1).repeat(3, axis=0)  # 48 kHz
    with Recorder(settings(tmp_path)) as recorder, recorder.tap("user", RATE) as tap:
        recorder.feed("user", stereo, 3 * RATE)
        got, frames = [], 0
        while frames < RATE * 0.8:
            got.append(next(tap))
            frames += len(got[-1].pcm)
    pcm = np.concatenate([block.pcm[:, 0] for block in got])
    assert np.abs(pcm[100:] - 1_000).max() <= 2  # the mean of both channels
    assert {block.sample_rate for block in got} == {RATE}
    assert [block.frame for block in got] == list(
        np.cumsum([0, *(len(block.pcm) for block in got[:-1])])
    )


def test_a_program_that_takes_nothing_loses_audio_and_is_told_how_much(tmp_path, monkeypatch):
    monkeypatch.setattr("edgerec.api.live_tap.KEPT_S", 0.35)
    with Recorder(settings(tmp_path)) as recorder, recorder.tap("bot") as tap:
        with recorder.tap("bot") as other:  # shows what has come by now
            recorder.feed("bot", SECOND, RATE)
            for _ in range(6):
                next(other)
        taken = [next(tap) for _ in range(4)]
    kept = RATE * 3 // 10
    assert [block.lost for block in taken[:3]] == [0, 0, 0]
    assert taken[3].lost == taken[3].frame - kept >= kept


def test_it_ends_when_the_recorder_is_closed_after_all_that_had_come(tmp_path):
    taken, done = [], threading.Event()
    with Recorder(settings(tmp_path)) as recorder:
        tap = recorder.tap("mix")

        def take():
            taken.extend(tap)
            done.set()

        threading.Thread(target=take, daemon=True).start()
        recorder.feed("bot", SECOND, RATE)
        wait_for(lambda: sum(len(block.pcm) for block in taken) >= RATE)
    assert done.wait(PATIENCE_S)
    assert all(block.lost == 0 for block in taken)


def test_it_is_iterated_in_an_asyncio_program(tmp_path):
    recorder = AsyncRecorder(settings(tmp_path))

    async def program():
        got = []
        async with recorder:
            await recorder.feed("bot", SECOND, RATE)
            async for block in recorder.tap("bot"):
                got.append(block)
                if len(got) == 5:
                    break
        return got

    assert [block.frame for block in run(program())] == list(range(0, RATE // 2, RATE // 10))


def test_a_recorder_that_is_not_open_has_no_live_audio(tmp_path):
    with pytest.raises(RecorderError, match="not open"):
        Recorder(settings(tmp_path)).tap("user")


def with_socket(tmp_path, path):
    config = settings(tmp_path)
    return Recorder(replace(config, control=replace(config.control, socket=path)), control=True)


def test_commands_reach_a_program_that_opens_its_control_socket(tmp_path):
    path = tmp_path / "control.sock"
    with with_socket(tmp_path, path) as recorder, ServiceConnection([path]) as service:
        assert service.status().kiosk == recorder.config.kiosk
        assert service.request("stop", {}) == {"changed": True}
        with pytest.raises(ServiceError, match="the program's own"):
            service.request("reload", {})
    assert not path.exists()


def test_a_control_socket_that_can_not_be_made_is_told_and_nothing_is_left_open(tmp_path):
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        with pytest.raises(ControlSocketError):
            with_socket(tmp_path, path).start_recording()
    with Recorder(settings(tmp_path)):
        pass  # the root is not held


def test_a_tap_of_another_program_takes_nothing_from_this_one(tmp_path):
    path = tmp_path / "control.sock"
    with with_socket(tmp_path, path) as recorder, ServiceConnection([path]) as service:
        service.request("tap", {"track": "bot"})
        with recorder.tap("bot") as tap:
            recorder.feed("bot", SECOND, RATE)
            assert sum(len(next(tap).pcm) for _ in range(10)) == RATE


@pytest.mark.parametrize(("what", "rate"), [("mic", None), ("user", 0), ("user", -1)])
def test_a_stream_or_rate_that_there_is_not_is_refused_at_once(tmp_path, what, rate):
    with Recorder(settings(tmp_path)) as recorder, pytest.raises(RecorderError, match="tap: "):
        recorder.tap(what, rate)


def test_one_block_can_be_awaited_without_a_loop_over_them(tmp_path):
    recorder = AsyncRecorder(settings(tmp_path))

    async def program():
        async with recorder:
            tap = recorder.tap("bot")
            await recorder.feed("bot", SECOND, RATE)
            return await anext(tap)

    assert run(program()).frame == 0


class _Interrupted:
    """A stream's header; another thread delivers when its rate is looked at."""

    channels = 1

    def __init__(self, deliver):
        self.deliver = deliver

    @property
    def sample_rate(self):
        other = threading.Thread(target=self.deliver, daemon=True)
        other.start()
        other.join(0.1)
        return RATE


def test_the_thread_of_another_tap_may_deliver_while_one_takes():
    clock = FakeClock()
    tap = Tap(Taps(clock), "bot", clock)
    header = StreamHeader(RATE, 1, "bot", "d", "monotonic_raw")
    blocks = [Block(n * 100, 100, 0, 0, 0, bytes(200)) for n in range(4)]
    tap.put(header, blocks[0], b"")
    interrupted = _Interrupted(lambda: None)
    tap.put(interrupted, blocks[1], b"")
    tap.put(header, blocks[2], b"")
    interrupted.deliver = lambda: tap.put(header, blocks[3], b"")
    assert next(tap).frame == 0
    interrupted.deliver = lambda: None
    assert [next(tap).frame for _ in range(3)] == [100, 200, 300]

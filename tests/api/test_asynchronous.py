"""The recorder in an asyncio program; both tracks are fed, in real time."""

import asyncio
import threading
from dataclasses import replace

import pytest

from edgerec import (
    AsyncRecorder,
    AudioData,
    ConfigError,
    HandlerError,
    RecordingStopped,
    make_config,
)
from tests.rigs.waiting import PATIENCE_S

RATE = 16_000


def settings(tmp_path, **recording):
    return make_config(
        kiosk_id="k1",
        storage={"root": str(tmp_path / "root")},
        recording={"sample_rate": RATE, "chunk_seconds": 1.0, **recording},
        tracks={"user": {"source": "feed"}, "bot": {"source": "feed"}},
    )


def run(program):
    """Run a coroutine to its end; no test waits for ever."""

    async def limited():
        async with asyncio.timeout(PATIENCE_S):
            return await program

    return asyncio.run(limited())


async def recording(recorder):
    while recorder.status().get("activity") != "recording":
        await asyncio.sleep(0.01)


def test_handlers_are_called_on_the_programs_loop_and_the_stop_waits_for_them(tmp_path):
    recorder, told = AsyncRecorder(settings(tmp_path)), []

    @recorder.event_handler("on_audio_data")
    async def chunk(its, event):
        await asyncio.sleep(0.01)
        told.append((its, threading.current_thread(), event.frames))

    @recorder.event_handler("on_recording_stopped")
    def stopped(its, event):
        told.append((its, threading.current_thread(), event.frames))

    async def program():
        await recorder.start_recording()
        await recorder.feed("bot", bytes(2 * RATE), RATE)
        await recording(recorder)
        await asyncio.sleep(0.3)
        await recorder.stop_recording()
        return list(told)

    before_the_end = run(program())
    assert len(before_the_end) >= 2
    assert {(its, thread) for its, thread, _ in told} == {(recorder, threading.main_thread())}
    assert sum(frames for *_, frames in told[:-1]) == told[-1][2]


def test_events_are_iterated_until_the_recorder_is_closed(tmp_path):
    recorder = AsyncRecorder(settings(tmp_path))

    async def collected(stream):
        return [event async for event in stream]

    async def program():
        early = asyncio.create_task(collected(recorder.events()))
        async with recorder:
            await recorder.feed("user", bytes(RATE), RATE)
            await recording(recorder)
            assert await recorder.pause()
            assert await recorder.resume()
            await recorder.rotate()
        return await early

    told = run(program())
    stops = [event for event in told if isinstance(event, RecordingStopped)]
    chunks = [event for event in told if isinstance(event, AudioData) and event.kind == "chunk"]
    assert (len(stops), stops[0].end_reason) == (1, "stop")
    assert sum(chunk.frames for chunk in chunks) == stops[0].frames


def test_events_that_a_program_does_not_take_are_dropped_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr("edgerec.api.asynchronous.STREAM_EVENTS", 3)
    recorder = AsyncRecorder(settings(tmp_path))

    async def program():
        stream = recorder.events()
        async with recorder:
            await recorder.feed("user", bytes(RATE), RATE)
            await recording(recorder)
        return stream.dropped, [event async for event in stream]

    dropped, kept = run(program())
    assert (dropped > 0, len(kept)) == (True, 3)


def test_a_handler_that_raises_or_hangs_costs_only_itself(tmp_path):
    recorder = AsyncRecorder(settings(tmp_path), handler_seconds=0.2)
    cancelled = []

    @recorder.event_handler("on_recording_started")
    async def hangs(its, event):
        try:
            await asyncio.sleep(PATIENCE_S)
        except asyncio.CancelledError:
            cancelled.append(event)
            raise

    @recorder.event_handler("on_recording_stopped")
    def raises(its, event):
        raise ValueError

    async def program():
        async with recorder:
            await recorder.feed("user", bytes(RATE), RATE)
            await recording(recorder)
        return recorder.counts

    counts = run(program())
    assert (counts.handlers.overdue, counts.handlers.raised, len(cancelled)) == (1, 1, 1)


def test_an_event_that_does_not_exist_is_refused_at_once(tmp_path):
    with pytest.raises(HandlerError, match="enable_turn_audio"):
        AsyncRecorder(settings(tmp_path)).event_handler("on_bot_turn_audio_data")


def test_settings_made_by_a_program_are_checked_as_those_of_a_file(tmp_path):
    with pytest.raises(ConfigError) as wrong:
        make_config({"storage": {"root": "relative"}}, tracks={"user": {"source": "feed"}}, kiosk=1)
    paths = {problem.path for problem in wrong.value.problems}
    assert paths == {"kiosk", "storage.root", "tracks.bot"}
    assert "the program's settings" in str(wrong.value)


def test_sections_replace_those_of_the_settings(tmp_path):
    config = make_config(
        {"kiosk_id": "k1", "tracks": {"user": {"source": "none"}}},
        tracks={"user": {"source": "feed"}, "bot": {"source": "feed"}},
    )
    assert (config.kiosk, config.tracks.user.source) == ("k1", "feed")


def test_a_cancelled_feed_that_waits_for_room_ends_and_pushes_no_more(tmp_path):
    recorder = AsyncRecorder(settings(tmp_path))

    async def program():
        async with recorder:
            speaking = asyncio.create_task(recorder.feed("bot", bytes(2 * 3600 * RATE), RATE))
            while (await recorder.played("bot")).position < 30 * RATE:
                await asyncio.sleep(0.01)
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
            # The next call is taken after the cancelled one has left, with nothing of it queued.
            await recorder.clear("bot")
            return await recorder.feed("bot", bytes(2 * RATE), RATE)

    pushed = run(program())
    assert pushed.stop - pushed.start == RATE
    assert pushed.start < 3600 * RATE


def test_a_program_whose_loop_ends_does_not_wait_for_what_it_has_cancelled(tmp_path):
    recorder, before = AsyncRecorder(settings(tmp_path)), threading.active_count()

    async def program():
        await recorder.start_recording()
        speaking = asyncio.create_task(recorder.feed("bot", bytes(2 * 3600 * RATE), RATE))
        while (await recorder.played("bot")).position < 30 * RATE:
            await asyncio.sleep(0.01)
        return speaking

    assert run(program()).cancelled()  # it would wait an hour
    asyncio.run(recorder.close())
    assert threading.active_count() == before


def test_commands_reach_an_asyncio_program_too(tmp_path):
    config, path = settings(tmp_path), tmp_path / "control.sock"
    config = replace(config, control=replace(config.control, socket=path))

    async def program():
        async with AsyncRecorder(config, control=True):
            return path.is_socket()

    assert run(program())

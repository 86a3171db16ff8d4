"""A sender in real time that stalls is told how much later everything plays, and what to do."""

import logging

import pytest

from edgerec.audio import StreamHeader
from edgerec.feeds.playback import Loudspeaker
from tests.rigs.feed_rig import RATE, level

MS = 1_000_000
HEADER = StreamHeader(RATE, 1, "bot", "tts", "monotonic_raw")


def said(pushes, caplog):
    """Push (ms, ms of audio) and return what the log says of stalls."""
    caplog.set_level(logging.WARNING)
    speaker = Loudspeaker()
    for at_ms, audio_ms in pushes:
        speaker.play(at_ms * MS)
        speaker.push(HEADER, level(audio_ms / 1000), at_ms * MS)
    return [one.getMessage() for one in caplog.records if "stalled" in one.getMessage()]


def in_real_time(start_ms, stop_ms):
    return [(at_ms, 20) for at_ms in range(start_ms, stop_ms, 20)]


@pytest.mark.parametrize("stall_ms", [300, 500, 2_000])
def test_a_stall_that_is_caught_up_with_is_said_once(stall_ms, caplog):
    back_ms = 3_000 + stall_ms
    caught_up = [(back_ms, 20)] * (stall_ms // 20)
    pushes = [*in_real_time(0, 3_000), *caught_up, *in_real_time(back_ms, back_ms + 3_000)]
    (line,) = said(pushes, caplog)
    assert f"track=bot later_ms={stall_ms} " in line
    assert "live=True or at_ns" in line


def test_a_pause_after_which_nothing_is_caught_up_with_is_none(caplog):
    assert said([*in_real_time(0, 3_000), *in_real_time(3_500, 6_000)], caplog) == []


def test_speech_in_bursts_is_none(caplog):
    pushes = [(start + late, 500) for start in (0, 3_000, 5_500) for late in (0, 100, 200, 300)]
    assert said(pushes, caplog) == []


def test_a_long_pause_of_speech_in_real_time_is_none(caplog):
    caught_up = [(9_000, 20)] * 300
    assert said([*in_real_time(0, 3_000), *caught_up, *in_real_time(9_000, 12_000)], caplog) == []

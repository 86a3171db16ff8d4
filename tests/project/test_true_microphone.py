"""What a server reads of a microphone of the tests: each moment once, in order, and the newest."""

import os
from itertools import pairwise

import pytest

from tests.rigs import true_microphone
from tests.rigs.fakes import S
from tests.rigs.true_microphone import DEVICE_RATE, PIPE_BYTES, UNREAD_S, WAITING_S, Microphone

WAITING_BYTES = round(WAITING_S * DEVICE_RATE) * 2
STEP_NS = S // 100


class Counting:
    """A sound whose frames say which they are."""

    def piece(self, start_ns, stop_ns, rate):
        frames = range(start_ns * rate // S, stop_ns * rate // S)
        return b"".join((frame % 65_536).to_bytes(2, "little") for frame in frames)


class FifoServer:
    """A server that makes the pipe of a source, and reads it when the test says so."""

    is_pipewire = False

    def pactl(self, *arguments):
        (path,) = (one.removeprefix("file=") for one in arguments if one.startswith("file="))
        os.mkfifo(path)
        return "1"


@pytest.fixture
def mic(tmp_path):
    """A microphone that speaks when the test says so, to a server that does not read it."""
    mic = Microphone(FifoServer(), "mic", Counting(), tmp_path)
    mic._closing.set()
    mic._thread.join()
    yield mic
    mic._let_go()


def speak(mic):
    now_ns = mic._written_ns + STEP_NS
    mic._write(now_ns)
    mic._written_ns = now_ns


def heard(mic, most_bytes=PIPE_BYTES):
    """What the server reads now, as the numbers of frames."""
    pcm = os.read(mic._pipe, most_bytes)
    return [int.from_bytes(pcm[at : at + 2], "little") for at in range(0, len(pcm), 2)]


def follow_on_each_other(frames):
    return all((b - a) % 65_536 == 1 for a, b in pairwise(frames))


def newest(mic):
    return (mic._written_ns * DEVICE_RATE // S - 1) % 65_536


def test_who_has_not_read_for_long_finds_the_newest(mic):
    for _ in range(round(2 * UNREAD_S * S) // STEP_NS):
        speak(mic)
    frames = heard(mic)
    assert follow_on_each_other(frames)
    assert frames[-1] == newest(mic)
    assert WAITING_BYTES <= 2 * len(frames) <= WAITING_BYTES + 2 * STEP_NS * DEVICE_RATE // S + 2


@pytest.mark.parametrize("share", [0.1, 0.9, 1.0])
def test_who_begins_to_read_just_then_misses_nothing_of_what_follows(mic, monkeypatch, share):
    for _ in range(round(2 * UNREAD_S * S) // STEP_NS):
        speak(mic)
    held_bytes, read = true_microphone._held_bytes, []

    def held_until_now(pipe):
        held = held_bytes(pipe)
        if not read:
            read.extend(heard(mic, round(share * held) // 2 * 2))
        return held

    monkeypatch.setattr(true_microphone, "_held_bytes", held_until_now)
    speak(mic)
    frames = read + heard(mic)
    assert follow_on_each_other(frames)
    assert frames[-1] == newest(mic)

"""The capture room on real PortAudio, ALSA and PulseAudio."""

import array
import fcntl
import json
import math
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
import wave
from pathlib import Path

import pytest

from edgerec.audio import Block, BlockFlags, GapReason, StreamEnded, StreamHeader
from edgerec.capture.child import ChildSource
from edgerec.capture.devices import list_devices
from edgerec.capture.portaudio import (
    EXIT_ABSENT,
    EXIT_OPEN,
    EXIT_READER,
    SERVER_BLOCK_MS,
    portaudio_command,
)
from edgerec.capture.wire import Decoder
from edgerec.clock import boot_id, raw_now_ns

pytestmark = pytest.mark.real

START_S = 6.0  # a null sink's first frames come after up to 2 s, on a busy machine more
RATE = 48_000


class Recording:
    """One source, driven by the real clock as the recorder thread does, and what it delivered."""

    def __init__(self, track="user", device="pulse:kiosk_mic", channels=1):
        command = portaudio_command(track, device, channels)
        self.source = ChildSource(track, command, {}, now_ns=raw_now_ns())
        self.deliveries = []

    def run(self, seconds, until=lambda: False):
        """Drive it until something is so, for at most `seconds`; return whether it became so."""
        deadline_ns = raw_now_ns() + int(seconds * 1e9)
        while not until():
            if raw_now_ns() > deadline_ns:
                return False
            fd = self.source.fileno()
            select.select([] if fd is None else [fd], [], [], 0.1)
            self.deliveries += self.source.deliver(raw_now_ns())
        return True

    def is_running(self):
        return self.source.state.name == "running"

    def of(self, kind):
        return [message for message in self.deliveries if isinstance(message, kind)]

    @property
    def pid(self):
        return self.source._child._process.pid


@pytest.fixture
def record(sound_server):
    """Start recordings that are closed whatever happens."""
    recordings = []

    def start(*arguments, **options):
        recordings.append(Recording(*arguments, **options))
        return recordings[-1]

    yield start
    for recording in recordings:
        recording.source.close()


@pytest.fixture
def capture(sound_server):
    """A capture child that nobody reads but the test."""
    children = []

    def start(*arguments, **options):
        command = portaudio_command(*arguments, **options)
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def tone(path, seconds, level=0.5):
    samples = (
        int(32_767 * level * math.sin(2 * math.pi * 1_000 * n / RATE))
        for n in range(int(seconds * RATE))
    )
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, RATE, 0, "NONE", ""))
        wav.writeframes(array.array("h", samples).tobytes())
    return path


def test_a_child_of_a_sound_server_has_long_blocks_and_loads_no_other_plugin_of_alsa(record):
    recording = record()
    assert recording.run(START_S, recording.is_running)
    assert recording.of(Block)[0].frames == SERVER_BLOCK_MS * RATE // 1000
    loaded = Path(f"/proc/{recording.pid}/maps").read_text()
    assert set(re.findall(r"libasound_module_\w+", loaded)) == {"libasound_module_pcm_pulse"}


def test_frames_come_without_a_hole_at_the_devices_rate(record):
    recording = record(channels=4)  # more than the device has
    assert recording.run(START_S, recording.is_running)
    recording.run(5.0)
    (header,) = recording.of(StreamHeader)
    assert (header.sample_rate, header.channels) == (RATE, 1)
    assert (header.device, header.clock) == ("pulse:kiosk_mic", "monotonic_raw")
    assert header.boot_id == boot_id()
    assert 0 <= time.time_ns() - header.utc_ns < 60e9
    blocks = recording.of(Block)
    position = 0
    for block in blocks:
        assert block.first_frame == position
        assert block.adc_ns == 0  # PulseAudio's stamps are on the wall clock
        position += block.frames
    assert [block.flags for block in blocks] == [BlockFlags.NEW_STREAM] + [0] * (len(blocks) - 1)
    frames = position - blocks[0].frames
    seconds = (blocks[-1].arrived_ns - blocks[0].arrived_ns) / 1e9
    # The host buffer holds half a second, so either end may be off by as much.
    assert abs(frames / RATE - seconds) <= 0.5
    assert "numpy" not in Path(f"/proc/{recording.pid}/maps").read_text()


def test_what_is_played_into_one_device_is_heard_there_and_not_in_the_other(
    record, sound_server, tmp_path
):
    recording = record()
    other = record("bot", "pulse:kiosk_speaker.monitor")
    assert recording.run(START_S, recording.is_running)
    assert other.run(START_S, other.is_running)
    player = sound_server.play(tone(tmp_path / "tone.wav", 4.0), sink="kiosk_mic_feed")

    def peak(source):
        pcm = b"".join(block.pcm for block in source.of(Block))
        return max(array.array("h", pcm), key=abs, default=0)

    assert recording.run(START_S, lambda: abs(peak(recording)) > 16_000)
    other.run(1.0)
    assert peak(other) == 0
    player.kill()
    player.wait()


def test_a_killed_server_is_an_absent_device_that_comes_back_with_the_server(record, sound_server):
    recording = record()
    assert recording.run(START_S, recording.is_running)
    sound_server.kill()
    assert recording.run(2.0, lambda: recording.of(StreamEnded))
    (ended,) = recording.of(StreamEnded)
    assert ended == StreamEnded(
        GapReason.ABSENT, "pulse:kiosk_mic stopped delivering (unplugged, or its server died)"
    )
    recording.run(3.0)
    assert recording.source.state.name == "absent"
    assert recording.source.state.restarts >= 1
    sound_server.start()
    assert recording.run(2 * START_S, recording.is_running)
    first = next(m for m in reversed(recording.deliveries) if isinstance(m, StreamHeader))
    after = recording.deliveries[recording.deliveries.index(first) + 1]
    assert (after.first_frame, after.flags) == (0, BlockFlags.NEW_STREAM)


def test_a_frozen_server_is_a_stall_and_is_recorded_again_when_it_thaws(record, sound_server):
    recording = record()
    assert recording.run(START_S, recording.is_running)
    sound_server.signal(signal.SIGSTOP)
    assert recording.run(4.0, lambda: recording.of(StreamEnded))
    (ended,) = recording.of(StreamEnded)
    assert ended == StreamEnded(GapReason.STALL, "no frame for 1.2 s")
    sound_server.signal(signal.SIGCONT)
    assert recording.run(2 * START_S, recording.is_running)


def test_a_pipe_that_nobody_reads_costs_whole_blocks_and_each_lost_frame_is_counted(capture):
    # 8 channels at 96 kHz fill the pipe of 1 MiB in 0.7 s.
    child = capture("user", "kiosk_mic", 8, 96_000)
    before = -1
    while before < (held := bytes_held(child.stdout)) or held == 0:
        before = held
        time.sleep(0.5)
    messages = []
    decoder = Decoder()
    while len(messages) < 60:
        messages += decoder.feed(os.read(child.stdout.fileno(), 1 << 20))
    _, *blocks = messages
    position, lost = 0, 0
    for block in blocks:
        jump = block.first_frame - position
        assert jump >= 0
        assert bool(block.flags & BlockFlags.DROPPED) == (jump > 0)
        position = block.first_frame + block.frames
        lost += jump
    assert lost > 0


def bytes_held(pipe):
    (held,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))
    return held


def test_sigterm_ends_the_child_at_once_and_without_a_word(capture):
    child = capture("user", "pulse:kiosk_mic", 1)
    assert child.stdout.read(1) == b"{"
    child.terminate()
    assert child.wait(1.0) == -signal.SIGTERM
    assert child.stderr.read() == b""


def test_a_child_without_a_reader_ends_without_a_word(capture):
    child = capture("user", "pulse:kiosk_mic", 1)
    assert child.stdout.read(1) == b"{"
    child.stdout.close()
    child.stdout = None
    assert child.wait(START_S) == EXIT_READER
    assert child.stderr.read() == b""


def test_a_source_that_is_gone_is_told_with_what_is_there(capture, sound_server):
    sound_server.pactl("unload-module", "module-remap-source")
    child = capture("user", "pulse:kiosk_mic", 1)
    _, said = child.communicate(timeout=START_S)
    assert child.returncode == EXIT_ABSENT
    line = json.loads(said.splitlines()[-1])
    assert line["error"] == "no input device named 'pulse:kiosk_mic'"
    assert "pulse:kiosk_speaker.monitor" in line["hint"]


def test_a_device_that_cannot_be_opened_as_asked_is_told_with_what_it_offers(capture):
    child = capture("user", "pulse:kiosk_mic", 1, 10_000_000)
    _, said = child.communicate(timeout=START_S)
    assert child.returncode == EXIT_OPEN
    line = json.loads(said.splitlines()[-1])
    assert line["error"].startswith("opening pulse:kiosk_mic (1 channels, 10000000 Hz): ")
    assert line["hint"].startswith("it offers 1 channels and 48000 Hz")


def test_the_virtual_devices_are_listed_with_their_rates_and_loopbacks(sound_server):
    found = {device.id: device for device in list_devices()}
    monitor = found["pulse:kiosk_speaker.monitor"]
    assert (monitor.sample_rate, monitor.channels) == (RATE, 2)
    assert monitor.loopback is not None
    assert found["pulse:kiosk_mic"].loopback is None
    assert found["kiosk_loopback"].loopback is not None
    assert sum(device.is_default for device in found.values()) == 1

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
from edgerec.capture.devices.catalog import list_devices
from edgerec.capture.portaudio import (
    EXIT_ABSENT,
    EXIT_OPEN,
    EXIT_READER,
    SERVER_BLOCK_MS,
    portaudio_command,
)
from edgerec.clock import boot_id, raw_now_ns
from edgerec.wire.blocks import Decoder
from tests.rigs.outages import STALL_S
from tests.rigs.sound_server import ON_BOTH
from tests.rigs.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.real

RATE = 48_000
AT_ONCE_S = 1.0
FOUND_S = 2.0
FULL_S = 0.5  # without a further block
READS = 4  # which empty a pipe, and see what was put in it since
HELD_S = 0.5  # by the host buffer


class Recording:
    """One source, driven by the real clock as the recorder thread does, and what it delivered."""

    def __init__(self, track="user", device="pulse:kiosk_mic", channels=1):
        command = portaudio_command(track, device, channels)
        self.source = ChildSource(track, command, {}, now_ns=raw_now_ns())
        self.deliveries = []

    def drive(self, until):
        """Drive it until something is so."""

        def look():
            fd = self.source.fileno()
            select.select([] if fd is None else [fd], [], [], 0.1)
            self.deliveries += self.source.deliver(raw_now_ns())
            return until()

        wait_for(look, why=lambda: f"waited in vain: {self.source.state}")

    def hear(self, seconds):
        """Drive it until it has delivered so much more."""
        frames = self.frames() + seconds * RATE
        self.drive(lambda: self.frames() >= frames)

    def frames(self):
        return sum(block.frames for block in self.of(Block))

    def is_running(self):
        return self.source.state.name == "running"

    def of(self, kind):
        return [message for message in self.deliveries if isinstance(message, kind)]

    def pids(self):
        child = self.source._child
        return [] if child is None else [child.pid]


@pytest.fixture
def record(sound_server, machine):
    """Start recordings that are closed whatever happens."""
    recordings = []

    def start(*arguments, **options):
        recordings.append(Recording(*arguments, **options))
        machine.watch(recordings[-1].pids)
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


TONE_S = 60.0


def tone(path, seconds, level=0.5):
    samples = (
        int(32_767 * level * math.sin(2 * math.pi * 1_000 * n / RATE))
        for n in range(int(seconds * RATE))
    )
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, RATE, 0, "NONE", ""))
        wav.writeframes(array.array("h", samples).tobytes())
    return path


def peak(recording):
    """Return the loudest sample of what a source has delivered."""
    pcm = b"".join(block.pcm for block in recording.of(Block))
    return max(array.array("h", pcm), key=abs, default=0)


def maps(recording):
    (pid,) = recording.pids()
    return Path(f"/proc/{pid}/maps").read_text()


def test_a_child_of_a_sound_server_has_long_blocks_and_loads_no_other_plugin_of_alsa(record):
    recording = record()
    recording.drive(recording.is_running)
    assert recording.of(Block)[0].frames == SERVER_BLOCK_MS * RATE // 1000
    loaded = maps(recording)
    assert set(re.findall(r"libasound_module_\w+", loaded)) == {"libasound_module_pcm_pulse"}


def test_frames_come_without_a_hole_at_the_devices_rate(record, machine):
    began_ns, began_utc_ns = raw_now_ns(), time.time_ns()
    recording = record(channels=4)  # more than the device has
    recording.drive(recording.is_running)
    recording.hear(5.0)
    (header,) = recording.of(StreamHeader)
    assert (header.sample_rate, header.channels) == (RATE, 1)
    assert (header.device, header.clock) == ("pulse:kiosk_mic", "monotonic_raw")
    assert header.dated
    assert header.boot_id == boot_id()
    assert began_utc_ns <= header.utc_ns <= time.time_ns()
    blocks = recording.of(Block)
    position = 0
    for block in blocks:
        assert block.first_frame == position
        assert (block.adc_ns > 0) == (block.adc_error_us > 0)
        position += block.frames
    assert [block.flags for block in blocks] == [BlockFlags.NEW_STREAM] + [0] * (len(blocks) - 1)
    frames = position - blocks[0].frames
    seconds = (blocks[-1].arrived_ns - blocks[0].arrived_ns) / 1e9
    off_s = abs(frames / RATE - seconds)  # either end, by what is held
    machine.note("capture: off by, after 5 s", off_s, "s", limit=HELD_S, since_ns=began_ns)
    if off_s > HELD_S:
        problem = f"off by {off_s:.2f} s after {seconds:.2f} s"
        machine.explain(problem, began_ns, raw_now_ns(), stall_s=off_s - HELD_S)
    assert "numpy" not in maps(recording)


def test_what_is_played_into_one_device_is_heard_there_and_not_in_the_other(
    record, sound_server, tmp_path
):
    recording = record()
    other = record("bot", "pulse:kiosk_speaker.monitor")
    recording.drive(recording.is_running)
    other.drive(other.is_running)
    player = sound_server.play(tone(tmp_path / "tone.wav", TONE_S), sink="kiosk_mic_feed")
    recording.drive(lambda: abs(peak(recording)) > 16_000)
    other.hear(1.0)
    assert peak(other) == 0
    player.kill()
    player.wait()


TWIN = "alsa_input.usb-Twin-00.mono-fallback"
PORT = "/devices/pci0000:00/0000:00:14.0/usb1/1-{0}/1-{0}:1.0/sound/card1"


@ON_BOTH
@pytest.mark.parametrize(
    "names", [(TWIN, f"{TWIN}.2"), (f"{TWIN}.2", TWIN)], ids=["in order", "swapped"]
)
def test_a_twin_is_recorded_by_its_port_whichever_the_server_calls_so(
    record, sound_server, tmp_path, names
):
    for port, name in enumerate(names, start=1):
        at = f"source_properties=sysfs.path={PORT.format(port)}"
        source = (f"source_name={name}", f"master=feed_{port}.monitor", at)
        sound_server.pactl("load-module", "module-null-sink", f"sink_name=feed_{port}")
        sound_server.pactl("load-module", "module-remap-source", *source)
    ids = [f"pulse:{TWIN}@usb-0000:00:14.0-{port}" for port in (1, 2)]
    assert {device.stable_id for device in list_devices()} >= set(ids)
    silent, recording = record("bot", ids[0]), record("user", ids[1])
    for one in (silent, recording):
        one.drive(one.is_running)
    assert recording.of(StreamHeader)[0].device == ids[1]
    player = sound_server.play(tone(tmp_path / "tone.wav", TONE_S), sink="feed_2")
    recording.drive(lambda: abs(peak(recording)) > 16_000)
    silent.hear(1.0)
    assert peak(silent) == 0
    player.kill()
    player.wait()


def test_a_killed_server_is_an_absent_device_that_comes_back_with_the_server(
    record, sound_server, machine
):
    recording = record()
    recording.drive(recording.is_running)
    killed_ns = raw_now_ns()
    sound_server.kill()
    recording.drive(lambda: recording.of(StreamEnded))
    found_s = (raw_now_ns() - killed_ns) / 1e9
    machine.note("capture: end of a server found", found_s, "s", limit=FOUND_S, since_ns=killed_ns)
    (ended,) = recording.of(StreamEnded)
    if ended.reason is GapReason.STALL:  # it took the child longer than that to say so
        machine.explain("taken for a stall", killed_ns, raw_now_ns(), stall_s=STALL_S)
    assert ended == StreamEnded(
        GapReason.ABSENT, "pulse:kiosk_mic stopped delivering (unplugged, or its server died)"
    )
    state = recording.source.state
    recording.drive(lambda: recording.source.state.restarts > state.restarts)
    recording.drive(lambda: recording.source.state.name == "absent")
    sound_server.start()
    recording.drive(recording.is_running)
    first = next(m for m in reversed(recording.deliveries) if isinstance(m, StreamHeader))
    after = recording.deliveries[recording.deliveries.index(first) + 1]
    assert (after.first_frame, after.flags) == (0, BlockFlags.NEW_STREAM)


def test_a_frozen_server_is_a_stall_and_is_recorded_again_when_it_thaws(
    record, sound_server, machine
):
    recording = record()
    recording.drive(recording.is_running)
    frozen_ns = raw_now_ns()
    sound_server.signal(signal.SIGSTOP)
    recording.drive(lambda: recording.of(StreamEnded))
    found_s = (raw_now_ns() - frozen_ns) / 1e9
    machine.note("capture: frozen server found", found_s, "s", limit=FOUND_S, since_ns=frozen_ns)
    (ended,) = recording.of(StreamEnded)
    assert ended == StreamEnded(GapReason.STALL, "no frame for 1.2 s")
    sound_server.signal(signal.SIGCONT)
    recording.drive(recording.is_running)


def test_a_pipe_that_nobody_reads_costs_whole_blocks_and_each_lost_frame_is_counted(capture):
    # 8 channels at 96 kHz fill the pipe of 1 MiB in 0.7 s.
    child = capture("user", "kiosk_mic", 8, 96_000)
    decoder = Decoder()
    position, lost = 0, 0

    def fill():
        before = -1
        while before < (held := bytes_held(child.stdout)) or held == 0:
            before = held
            time.sleep(FULL_S)

    def has_lost():
        nonlocal position, lost
        fill()  # on a slow machine it only seems to be full at times
        for _ in range(READS):
            for message in decoder.feed(os.read(child.stdout.fileno(), 1 << 20)):
                if isinstance(message, Block):
                    jump = message.first_frame - position
                    assert jump >= 0
                    assert bool(message.flags & BlockFlags.DROPPED) == (jump > 0)
                    position = message.first_frame + message.frames
                    lost += jump
        return lost > 0

    wait_for(has_lost)


def bytes_held(pipe):
    (held,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))
    return held


def test_sigterm_ends_the_child_at_once_and_without_a_word(capture, machine):
    child = capture("user", "pulse:kiosk_mic", 1)
    assert child.stdout.read(1) == b"{"
    told_ns = raw_now_ns()
    child.terminate()
    assert child.wait(PATIENCE_S) == -signal.SIGTERM
    ended_s = (raw_now_ns() - told_ns) / 1e9
    machine.note("capture: end of a child", ended_s, "s", limit=AT_ONCE_S, since_ns=told_ns)
    assert child.stderr.read() == b""


def test_a_child_without_a_reader_ends_without_a_word(capture):
    child = capture("user", "pulse:kiosk_mic", 1)
    assert child.stdout.read(1) == b"{"
    child.stdout.close()
    child.stdout = None
    assert child.wait(PATIENCE_S) == EXIT_READER
    assert child.stderr.read() == b""


def test_a_source_that_is_gone_is_told_with_what_is_there(capture, sound_server):
    sound_server.pactl("unload-module", "module-remap-source")
    child = capture("user", "pulse:kiosk_mic", 1)
    _, said = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == EXIT_ABSENT
    line = json.loads(said.splitlines()[-1])
    assert line["error"] == "no input device named 'pulse:kiosk_mic'"
    assert "pulse:kiosk_speaker.monitor" in line["hint"]


def test_a_device_that_cannot_be_opened_as_asked_is_told_with_what_it_offers(capture):
    child = capture("user", "pulse:kiosk_mic", 1, 10_000_000)
    _, said = child.communicate(timeout=PATIENCE_S)
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

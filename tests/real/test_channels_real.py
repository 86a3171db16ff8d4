"""Which channels of a source are recorded, behind a real PulseAudio and a real PipeWire."""

import os
import select
import shlex
import subprocess

import numpy as np
import pytest

from edgerec.audio import Block, StreamHeader
from edgerec.capture.child import ChildSource
from edgerec.capture.devices.catalog import find_device
from edgerec.capture.devices.channels import plan_opening, stream_positions
from edgerec.capture.portaudio import portaudio_command
from edgerec.clock import raw_now_ns
from tests.rigs.sound_server import ON_BOTH
from tests.rigs.waiting import wait_for

pytestmark = pytest.mark.real

RATE = 48_000
HEARD_S = 0.5
TONES_HZ = tuple(500 + 400 * channel for channel in range(6))
LOUD = 4_000  # half of what is played
APART = 0.01  # -40 dB: a server's mixing leaves no less than -24 dB of any channel
MAPS = {
    "stereo": "front-left,front-right",
    "five-one": "front-left,front-right,rear-left,rear-right,front-center,lfe",
    "smpte": "front-left,front-right,front-center,lfe,rear-left,rear-right",
    "pair": "aux0,aux1",
    "array": "aux0,aux1,aux2,aux3,aux4,aux5",
}
ODD = "front-left,top-center,front-right"


class Microphone:
    """A source with a tone on each of its channels, another one on each."""

    def __init__(self, server, positions):
        self._server = server
        self.channels = len(positions.split(","))
        server.pactl(
            *("load-module", "module-null-sink", "sink_name=mic", f"rate={RATE}"),
            *("format=s16le", f"channels={self.channels}", f"channel_map={positions}"),
        )
        self.id = "pulse:mic.monitor"
        time = np.arange(RATE) / RATE  # a second: whole periods of every tone
        tones = [np.sin(2 * np.pi * hz * time) for hz in TONES_HZ[: self.channels]]
        self._second = np.rint(8_000 * np.stack(tones, axis=1)).astype("<i2").tobytes()
        self._player = subprocess.Popen(
            [
                *("pacat", "-p", "-d", "mic", "--format=s16le", f"--rate={RATE}"),
                *(f"--channels={self.channels}", f"--channel-map={positions}"),
            ],
            env=os.environ | server.env,
            stdin=subprocess.PIPE,
        )
        os.set_blocking(self._player.stdin.fileno(), False)
        self._rest = b""

    def play(self):
        """Go on playing; the pipe holds part of a second."""
        while True:
            self._rest = self._rest or self._second
            try:
                self._rest = self._rest[os.write(self._player.stdin.fileno(), self._rest) :]
            except BlockingIOError:
                return

    def close(self):
        self._player.kill()
        self._player.wait()
        self._player.stdin.close()


@pytest.fixture
def microphone(sound_server):
    made = []

    def make(positions):
        made.append(Microphone(sound_server, positions))
        return made[0]

    yield make
    for one in made:
        one.close()


class Child:
    """A capture child that is heard while its microphone plays."""

    def __init__(self, microphone, device, channels):
        self._microphone = microphone
        command = portaudio_command("user", device, channels)
        self.source = ChildSource("user", command, {}, now_ns=raw_now_ns())
        self._header = None
        self._pcm = b""

    def hear_only(self, *picked):
        """Wait until each channel that is sent has one tone, that of the channel picked.

        On a busy machine the player has gaps, whose edges are of all tones.
        """

        def hears():
            self._look()
            if self._header is None or len(self._pcm) < self._wanted_bytes():
                return False
            tones = self._spectrum()
            assert tones.shape[0] == len(picked)
            wanted = tones[range(len(picked)), [channel - 1 for channel in picked]]
            tones[range(len(picked)), [channel - 1 for channel in picked]] = 0
            return bool((wanted > LOUD).all() and (tones.max(axis=1) < APART * wanted).all())

        wait_for(hears, why=lambda: f"hears others: {self._spectrum()}, {self.source.state}")

    def error(self):
        """Return why it can't record."""
        wait_for(lambda: self._look() or self.source.state.name == "absent")
        return self.source.state.detail

    def close(self):
        self.source.close()

    def _look(self):
        self._microphone.play()
        fd = self.source.fileno()
        select.select([] if fd is None else [fd], [], [], 0.05)
        for delivery in self.source.deliver(raw_now_ns()):
            if isinstance(delivery, StreamHeader):
                self._header, self._pcm = delivery, b""
            elif isinstance(delivery, Block):
                self._pcm = (self._pcm + delivery.pcm)[-self._wanted_bytes() :]

    def _wanted_bytes(self):
        return round(HEARD_S * RATE) * self._header.channels * 2

    def _spectrum(self):
        """Return the amplitude of each tone in each channel, shape (channels, tones)."""
        samples = np.frombuffer(self._pcm, "<i2").reshape(-1, self._header.channels)
        samples = samples * np.hanning(round(HEARD_S * RATE))[:, None]
        lines = np.abs(np.fft.rfft(samples, axis=0)) / len(samples) * 4
        return lines[[round(hz * HEARD_S) for hz in TONES_HZ]].T


@pytest.fixture
def child(microphone):
    children = []

    def start(heard, device, channels):
        children.append(Child(heard, device, channels))
        return children[-1]

    yield start
    for one in children:
        one.close()


@ON_BOTH
@pytest.mark.parametrize(
    ("positions", "picked"),
    [("stereo", (2,)), ("five-one", (5,)), ("smpte", (3, 1)), ("pair", (2,)), ("array", (4, 6))],
)
def test_the_channels_that_are_picked_are_recorded_and_no_others(
    microphone, child, positions, picked
):
    heard = microphone(MAPS[positions])
    child(heard, heard.id, picked).hear_only(*picked)


@ON_BOTH
def test_two_channels_at_aux_positions_are_no_silence(microphone, child):
    """Asked for front-left and front-right, PulseAudio delivers digital silence of them."""
    heard = microphone(MAPS["pair"])
    child(heard, heard.id, 2).hear_only(1, 2)


@ON_BOTH
def test_positions_that_no_stream_has_are_an_error_whose_command_makes_a_source_that_has(
    microphone, child, sound_server
):
    heard = microphone(ODD)
    said = child(heard, heard.id, (2,)).error()
    assert ODD in said
    command = shlex.split(said[said.index("pactl load-module") : said.index(";")])
    sound_server.pactl(*command[1:])
    child(heard, "pulse:edgerec_channels", 1).hear_only(2)


@ON_BOTH
def test_a_channel_that_is_not_there_is_an_error(microphone, child):
    heard = microphone(MAPS["stereo"])
    assert "has 2 channels, so there is no channel 3" in child(heard, heard.id, (3,)).error()


@ON_BOTH
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 14])
def test_a_stream_stands_where_it_is_taken_to_stand(microphone, child, sound_server, count):
    """What ALSA's plugin asks for is nowhere documented."""
    heard = microphone(MAPS["stereo"])
    running = child(heard, "pulse", count)
    wait_for(lambda: running._look() or running.source.state.name == "running")
    outputs = sound_server.pactl("list", "source-outputs")
    assert f"Channel Map: {','.join(stream_positions(count))}\n" in outputs


def test_the_source_says_where_its_channels_stand(microphone):
    heard = microphone(MAPS["smpte"])
    device = find_device(heard.id)
    assert device.positions == tuple(MAPS["smpte"].split(","))
    assert plan_opening((3,), device).taken == (4,)

"""The capture child: one PortAudio stream onto one pipe.

``python -m edgerec.capture.portaudio --track user --device pulse:mic --channels 1`` writes the
block stream of `wire.blocks` to its standard output until it is killed. It is a process of its
own because an unplugged device can hang or spin inside PortAudio indefinitely, and because
PortAudio's list of devices is frozen while it runs.

A sound server's source and a bare ALSA card are polled and dated (`polled`,
`dating`). Any other device has a callback, which stamps, copies and writes
to the pipe without waiting. When the pipe is full a block is dropped and its frames are counted, so
that the next `first_frame` shows what is missing.

The one line of JSON on standard error, ``{"error": ..., "hint": ...}``, says why the child ended;
its exit status is one of

====  =====================================================================
2     usage
3     `EXIT_ABSENT`: no such device, or more than one of that name
4     `EXIT_OPEN`: the device is there and can't be opened as asked
5     `EXIT_LOST`: the stream ended by itself: unplugged, or its server died; or it never began
6     `EXIT_READER`: nobody reads the pipe any more (without a line)
====  =====================================================================

SIGTERM ends it at once and silently. It must not import numpy, which costs more memory than all the
rest.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time
from typing import Any, Final, NoReturn

from edgerec.audio import TRACKS, StreamHeader, TrackName
from edgerec.capture.dating.alsa import alsa_dating
from edgerec.capture.dating.pipewire import graph_rate, lump_ms, pipewire_dating
from edgerec.capture.dating.pulse import Dating, pulse_dating
from edgerec.capture.devices.alsa_cards import ALSA_PREFIX
from edgerec.capture.devices.catalog import PULSE_PREFIX, DeviceError, DeviceInfo, find_device
from edgerec.capture.devices.channels import (
    ChannelError,
    Channels,
    DeviceOpening,
    parse_channels,
    plan_opening,
)
from edgerec.capture.devices.server_stream import as_served, prepare_stream
from edgerec.capture.polled import BUFFER_S, PolledCapture
from edgerec.clock import SystemClock, monotonic_now_ns, raw_now_ns
from edgerec.wire.pipe import BlockPipe, BlockSender, be_killed_first, die_with_parent

EXIT_ABSENT: Final = 3
EXIT_OPEN: Final = 4
EXIT_LOST: Final = 5
EXIT_READER: Final = 6

DEFAULT_BLOCK_MS: Final = 100
"""Length of a block: each wakes two processes, and 5 ms blocks cost 28 CPU seconds an hour."""
SERVER_BLOCK_MS: Final = 250
"""Length of a block of a sound server's device: the server delivers at its own pace, and each
delivery also wakes its library's thread."""

LATENCY_BLOCKS: Final = 5
"""Host buffer in blocks. At 100 ms through PulseAudio PortAudio's own "high" latency makes it two:
8 CPU seconds an hour, and a stall of 0.2 s overruns it. Five make three periods, 4 CPU seconds,
and blocks in pairs, the second of them on time."""

LUMP_BLOCKS: Final = 2
"""Amount that PulseAudio is asked to collect before delivering it. Smaller lumps cost the server
more, and dates are as exact with long ones. For PipeWire see `dating.pipewire.lump_ms`."""

SPIN_S: Final = 2.5
"""Maximum CPU time before the first frame. With ALSA's PulseAudio plugin, PortAudio busy-waits for
that frame: 2 s with a null sink, indefinitely with a suspended source."""
SPIN_LOOK_S: Final = 0.5

PULSE_ONLY: Final = Path(__file__).with_name("pulse.conf")
"""ALSA configuration for a sound server's device. PortAudio probes every device that ALSA knows:
another track's card may be busy at that moment, and the plug-ins loaded for it stay, with half a
video library: 8 MiB per child."""

MAX_ADC_AGE_NS: Final = 10_000_000_000
"""Maximum age of a sampling instant; an older or future one is not on CLOCK_MONOTONIC."""


class CaptureError(Exception):
    """The device can't be captured; `status` is the exit status that says so."""

    def __init__(self, status: int, error: str, hint: str) -> None:
        super().__init__(error)
        self.status = status
        self.hint = hint


@dataclass(frozen=True, slots=True)
class CaptureRequest:
    """The recorder's request to a capture child."""

    track: TrackName
    device: str | None
    """Stable id, name or part of a name of the device; None for PortAudio's default."""
    channels: Channels
    """Number of channels (all if the device has fewer), or the channels to pick."""
    sample_rate: int | None
    """Sampling rate in Hz; None for the device's own."""
    block_ms: float | None
    """Maximum length of a block; None for what suits the device."""


def portaudio_command(
    track: TrackName,
    device: str | None,
    channels: Channels,
    sample_rate: int | None = None,
    block_ms: float | None = None,
) -> list[str]:
    """Return the command that starts a capture child; None means its default."""
    # -P: a stray json.py in the working folder must not become part of the recorder.
    command = [sys.executable, "-P", "-m", __spec__.name]
    command += [f"--track={track}", f"--channels={json.dumps(channels)}"]
    if device is not None:
        command.append(f"--device={device}")
    if sample_rate is not None:
        command.append(f"--sample-rate={sample_rate}")
    if block_ms is not None:
        command.append(f"--block-ms={block_ms}")
    return command


def parse_request(arguments: Sequence[str]) -> CaptureRequest:
    """Read what `portaudio_command` wrote; exits with status 2 when it can't."""
    parser = argparse.ArgumentParser(
        prog="edgerec.capture.portaudio", description="Write one device's audio to a pipe."
    )
    parser.add_argument("--track", required=True, choices=TRACKS)
    parser.add_argument("--device")
    parser.add_argument("--channels", type=parse_channels, default=1, metavar="N or [N, ...]")
    parser.add_argument("--sample-rate", type=int, metavar="HZ")
    parser.add_argument("--block-ms", type=float, metavar="MS")
    return CaptureRequest(**vars(parser.parse_args(arguments)))


def adc_to_raw_ns(adc_s: float, monotonic_ns: int, raw_ns: int) -> int:
    """Put PortAudio's estimate of a sampling instant onto CLOCK_MONOTONIC_RAW.

    Parameters
    ----------
    adc_s
        `inputBufferAdcTime`: on CLOCK_MONOTONIC on an ALSA device, on CLOCK_REALTIME and wrong by
        tens of milliseconds through PulseAudio, or 0.
    monotonic_ns, raw_ns
        Current time on both clocks.

    Returns
    -------
    0 when the estimate is not on CLOCK_MONOTONIC.
    """
    age_ns = monotonic_ns - round(adc_s * 1e9)
    return raw_ns - age_ns if 0 <= age_ns <= MAX_ADC_AGE_NS else 0


def block_frames(device: DeviceInfo, sample_rate: int, block_ms: float | None) -> int:
    """Return the length of a block in frames: as requested, or as suits the device."""
    block_ms = block_ms or (SERVER_BLOCK_MS if device.is_served else DEFAULT_BLOCK_MS)
    return max(1, round(sample_rate * block_ms / 1000))


def capture(request: CaptureRequest, fd: int) -> NoReturn:
    """Write the device's block stream to the pipe `fd`, until the device or the reader is gone.

    Raises
    ------
    CaptureError
        The device is absent, can't be opened, or was lost.
    BrokenPipeError
        Nobody reads the pipe.
    """
    if (request.device or "").startswith(PULSE_PREFIX):
        os.environ["ALSA_CONFIG_PATH"] = str(PULSE_ONLY)
    device, source = _find(request)
    sample_rate = request.sample_rate or device.sample_rate
    if device.is_pipewire and request.sample_rate is None:
        sample_rate = graph_rate(device.sample_rate)
    opening = _plan(request.channels, device)
    blocksize = block_frames(device, sample_rate, request.block_ms)
    name = device.named(request.device)
    header = StreamHeader(
        sample_rate, opening.sent, request.track, name, "monotonic_raw", source=source
    )
    if device.pulse_source is not None:
        # Read by libpulse in this process when PortAudio opens ALSA's `pulse` device.
        os.environ["PULSE_SOURCE"] = device.pulse_source
    if device.is_served:
        asked_ms = LUMP_BLOCKS * blocksize * 1000 // sample_rate
        if device.is_pipewire:
            asked_ms = lump_ms(opening.opened, sample_rate)
        os.environ["PULSE_LATENCY_MSEC"] = str(asked_ms)
    if device.is_served or device.id.startswith(ALSA_PREFIX):
        _capture_polled(device, header, opening, blocksize, fd)
    _capture_called_back(device, header, opening, blocksize, fd)


def _capture_polled(
    device: DeviceInfo, header: StreamHeader, opening: DeviceOpening, blocksize: int, fd: int
) -> NoReturn:
    import sounddevice

    if device.is_served:
        stream = _open(device, header, opening, blocksize=0, latency=BUFFER_S)
    else:
        latency_s = LATENCY_BLOCKS * blocksize / header.sample_rate
        stream = _open(device, header, opening, blocksize=blocksize, latency=latency_s)
    dating = _dating(device, header.sample_rate)
    sender = BlockSender(BlockPipe(fd), replace(header, dated=dating is not None), SystemClock())
    try:
        PolledCapture(stream, sender, dating, header.sample_rate, blocksize, opening.take).run()
    except sounddevice.PortAudioError as error:
        raise _lost(device) from error
    raise AssertionError("polling ends with an error alone")


def _dating(device: DeviceInfo, rate: int) -> Dating | None:
    if not device.is_served:
        return alsa_dating(device.id, os.getpid(), rate)
    if device.is_pipewire:
        return pipewire_dating(os.getpid(), rate)
    return pulse_dating(os.getpid())


def _capture_called_back(
    device: DeviceInfo, header: StreamHeader, opening: DeviceOpening, blocksize: int, fd: int
) -> NoReturn:
    sender = BlockSender(BlockPipe(fd), header, SystemClock())
    begun = threading.Event()
    ended = threading.Event()
    reader_gone = threading.Event()

    import sounddevice

    def callback(indata: Any, frames: int, time: Any, status: Any) -> None:
        raw_ns = raw_now_ns()
        if not begun.is_set():
            begun.set()
        adc_ns = adc_to_raw_ns(time.inputBufferAdcTime, monotonic_now_ns(), raw_ns)
        pcm = opening.take(indata)
        try:
            sender.send(pcm, frames, raw_ns, adc_ns, overflow=status.input_overflow)
        except BrokenPipeError:
            reader_gone.set()
            raise sounddevice.CallbackAbort from None

    def finished() -> None:
        begun.set()  # or an end without a frame would be waited for
        ended.set()

    _stream = _open(  # kept: one that nobody holds is closed
        device,
        header,
        opening,
        blocksize=blocksize,
        latency=LATENCY_BLOCKS * blocksize / header.sample_rate,
        callback=callback,
        finished_callback=finished,
    )
    if not await_beginning(begun):
        raise CaptureError(
            EXIT_LOST,
            f"{device.id} delivers no frames while its read loop uses a full CPU core",
            "its source may be suspended: pactl list short sources",
        )
    ended.wait()
    if reader_gone.is_set():
        raise BrokenPipeError
    raise _lost(device)


def _open(device: DeviceInfo, header: StreamHeader, opening: DeviceOpening, **options: Any) -> Any:
    import sounddevice

    os.environ.update(opening.prepare(os.environ))
    rate, channels = header.sample_rate, opening.opened
    try:
        stream = sounddevice.RawInputStream(
            samplerate=rate, device=device.index, channels=channels, dtype="int16", **options
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise CaptureError(
            EXIT_OPEN,
            f"opening {device.id} ({channels} channels, {rate} Hz): {error}",
            f"it offers {device.channels} channels and {device.sample_rate} Hz; another program "
            "may hold it",
        ) from error
    return stream


def _lost(device: DeviceInfo) -> CaptureError:
    return CaptureError(
        EXIT_LOST, f"{device.id} stopped delivering", "unplugged, or its server died"
    )


def await_beginning(begun: threading.Event, spent_s: Callable[[], float] = process_time) -> bool:
    """Wait for the first frame; return whether it came before `SPIN_S` were spent on it."""
    give_up_s = spent_s() + SPIN_S
    while not begun.wait(SPIN_LOOK_S):
        if spent_s() > give_up_s:
            return False
    return True


def _find(request: CaptureRequest) -> tuple[DeviceInfo, str | None]:
    """Return the device, and the source that it asks a sound server for; see `prepare_stream`."""
    try:
        device = find_device(request.device)
        source = prepare_stream(request.track, device)
    except DeviceError as error:
        raise CaptureError(EXIT_ABSENT, str(error), error.hint) from error
    return as_served(device, source), source


def _plan(channels: Channels, device: DeviceInfo) -> DeviceOpening:
    try:
        return plan_opening(channels, device)
    except ChannelError as error:
        raise CaptureError(EXIT_OPEN, str(error), error.hint) from error


def _claim_stdout() -> int:
    """Move the pipe away from fd 1, so that a library that prints can't print into the stream."""
    pipe = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return pipe


def main(arguments: Sequence[str]) -> int:
    """Run the capture child; return its exit status."""
    die_with_parent()
    be_killed_first()
    request = parse_request(arguments)
    try:
        capture(request, _claim_stdout())
    except CaptureError as error:
        print(json.dumps({"error": str(error), "hint": error.hint}), file=sys.stderr, flush=True)
        return error.status
    except BrokenPipeError:
        pass
    return EXIT_READER


if __name__ == "__main__":
    # Python's handler would raise KeyboardInterrupt into a callback; SIGTERM kills by default.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Not sys.exit: closing a stream or PortAudio itself can hang on the device that was lost.
    os._exit(main(sys.argv[1:]))

"""The capture child, as far as it can be tested without a device; the rest is under real/."""

import json
import subprocess
import sys

import pytest

from edgerec.capture import portaudio
from edgerec.capture.devices.catalog import DeviceInfo
from edgerec.capture.portaudio import (
    DEFAULT_BLOCK_MS,
    EXIT_ABSENT,
    SERVER_BLOCK_MS,
    SPIN_S,
    CaptureRequest,
    adc_to_raw_ns,
    await_beginning,
    block_frames,
    capture,
    parse_request,
    portaudio_command,
)

S = 1_000_000_000


def test_the_child_understands_every_argument_of_its_command():
    command = portaudio_command("bot", "pulse:-x y", 2, 44_100, 20.5)
    arguments = command[command.index("-m") + 2 :]
    assert parse_request(arguments) == CaptureRequest("bot", "pulse:-x y", 2, 44_100, 20.5)


def test_the_child_is_told_which_channels_to_pick():
    command = portaudio_command("user", None, (3, 1))
    arguments = command[command.index("-m") + 2 :]
    assert parse_request(arguments) == CaptureRequest("user", None, (3, 1), None, None)


def test_what_the_command_leaves_out_is_the_childs_default():
    command = portaudio_command("user", None, 1)
    arguments = command[command.index("-m") + 2 :]
    assert parse_request(arguments) == CaptureRequest("user", None, 1, None, None)


def test_a_module_of_the_working_folder_does_not_get_into_the_child(tmp_path):
    (tmp_path / "json.py").write_text("raise SystemExit(99)")
    done = subprocess.run(
        [*portaudio_command("user", None, 1), "--help"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0


def test_the_child_and_portaudio_do_without_numpy():
    probe = "import sys, edgerec.capture.portaudio, sounddevice; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_a_device_that_is_not_there_is_told_in_one_line_on_standard_error():
    command = portaudio_command("user", "no such mic", 1)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == EXIT_ABSENT
    assert done.stdout == ""
    said = json.loads(done.stderr.splitlines()[-1])
    assert said["error"] == "no input device named 'no such mic'"
    assert said["hint"]


def test_a_library_that_prints_does_not_print_into_the_stream():
    script = (
        "import os; from edgerec.capture.portaudio import _claim_stdout\n"
        "pipe = _claim_stdout(); os.write(1, b'noise'); os.write(pipe, b'stream')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"stream", b"noise")


@pytest.mark.parametrize("age_ns", [0, S // 10, 9 * S])
def test_a_sampling_instant_on_the_monotonic_clock_is_put_onto_the_raw_one(age_ns):
    monotonic_ns, raw_ns = 5_000 * S, 4_999 * S
    adc_ns = adc_to_raw_ns((monotonic_ns - age_ns) / 1e9, monotonic_ns, raw_ns)
    # PortAudio's double holds 5,000 s to 2**-40 s, a picosecond: rounding leaves at most 1 ns.
    assert abs(adc_ns - (raw_ns - age_ns)) <= 1


@pytest.mark.parametrize(
    "adc_s",
    [0.0, 1.8e9, 5_000.5, 4_900.0],
    ids=["unknown", "wall clock", "in the future", "long ago"],
)
def test_a_sampling_instant_on_another_clock_is_unknown(adc_s):
    assert adc_to_raw_ns(adc_s, 5_000 * S, 4_999 * S) == 0


def device(*, is_served=False):
    return DeviceInfo("d", "d", "ALSA", 0, 48_000, 8, False, is_served=is_served)


def test_blocks_are_as_long_as_is_asked_or_suits_them():
    pulseaudio = device(is_served=True)
    assert block_frames(pulseaudio, 48_000, None) == 48 * SERVER_BLOCK_MS
    assert block_frames(device(), 48_000, None) == 48 * DEFAULT_BLOCK_MS
    for one in (pulseaudio, device()):
        assert block_frames(one, 48_000, 300.0) == 14_400
        assert block_frames(one, 8_000, 0.01) == 1


@pytest.mark.parametrize(
    ("wanted", "told"), [("alsa:usb-p-1,0", "alsa:usb-p-1,0"), ("Device", "alsa:Device_1,0")]
)
def test_a_device_that_is_named_by_its_port_is_called_so_whatever_its_card_is_called(
    wanted, told, monkeypatch
):
    twin = DeviceInfo(
        *("alsa:Device_1,0", "Device", "ALSA", 0, 48_000, 1, False),
        by_order=True,
        port_id="alsa:usb-p-1,0",
    )
    headers = []

    def open_stream(device, header, *rest):
        headers.append(header)
        raise BrokenPipeError

    monkeypatch.setattr(portaudio, "find_device", lambda wanted: twin)
    monkeypatch.setattr(portaudio, "_capture_polled", open_stream)
    with pytest.raises(BrokenPipeError):
        capture(CaptureRequest("user", wanted, 1, None, None), -1)
    assert [header.device for header in headers] == [told]


class Beginning:
    """The event of a first frame that comes after so many looks at it."""

    def __init__(self, looks):
        self._looks = looks

    def wait(self, seconds):
        self._looks -= 1
        return self._looks < 0


def test_a_stream_is_waited_for_until_it_has_cost_too_much():
    assert await_beginning(Beginning(1_000), iter([7.0] * 1_001).__next__)
    assert await_beginning(Beginning(1), iter([7.0, 7.0 + SPIN_S]).__next__)
    assert not await_beginning(Beginning(1_000), iter([7.0, 7.0 + SPIN_S, 9.6]).__next__)

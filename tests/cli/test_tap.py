"""`edgerec tap` out of a real `edgerec run`, whose hooks are run too."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import wave

import pytest

from edgerec.audio import Block, StreamHeader
from edgerec.store.archive.verify import verify
from edgerec.wire.blocks import Decoder, encode_block, encode_stream_header
from edgerec.wire.messages import error_line, result_line
from tests.rigs.run_process import Run
from tests.rigs.waiting import PATIENCE_S

RATE = 48_000  # of simulated devices


def edgerec(*arguments):
    return [sys.executable, "-m", "edgerec", *map(str, arguments)]


def tap(*arguments):
    """Run `edgerec tap`; return its exit status, its output and what it complained of."""
    done = subprocess.run(edgerec("tap", *arguments), capture_output=True, timeout=PATIENCE_S)
    return done.returncode, done.stdout, done.stderr.decode()


@pytest.fixture
def service(tmp_path):
    """A real service whose hooks write down what they are told."""
    told = json.dumps(["/bin/sh", "-c", 'echo "$@" >> "$0"', str(tmp_path / "told")])[:-1]
    hooks = f'{{on_chunk: {told}, "{{kind}}", "{{path}}"], on_state: {told}, "{{state}}"]}}'
    run = Run(
        tmp_path,
        more=(f"control: {{socket: {tmp_path / 'control.sock'}}}\nhooks: {hooks}\n"),
    )
    run.socket = tmp_path / "control.sock"
    run.told = tmp_path / "told"
    run.start()
    run.wait_to_hear("recording root=")
    yield run
    run.kill()


def test_live_audio_comes_in_every_form_while_it_is_recorded_and_hooks_are_told(service, tmp_path):
    listen = ["--socket", service.socket, "--seconds", 1]
    code, raw, said = tap("bot", *listen, "--raw")
    assert (code, len(raw) % 4) == (0, 0)
    assert RATE * 4 <= len(raw) < 2 * RATE * 4
    assert f"{RATE} Hz, 2 channels" in said
    code, wav, _ = tap("mix", *listen)
    assert code == 0
    assert wav[:4] == b"RIFF" and int.from_bytes(wav[24:28], "little") == 16_000
    code, stream, _ = tap("user", *listen, "--stream")
    header, *blocks = Decoder().feed(stream)
    assert (code, header.track, header.sample_rate) == (0, "user", RATE)
    assert all(block.arrived_ns > 0 for block in blocks)
    to_file(service, tmp_path)
    said = service.end()
    assert verify(service.root).ok
    told = service.told.read_text().split("\n")
    chunks = {f"chunk {path}" for path in service.root.rglob("*_chunk.wav")}
    heard = [line for line in told if line.startswith("chunk")]
    assert len(set(heard)) == len(heard) > 0
    assert set(heard) <= chunks
    # Those of which a busy machine has not run the hook 5 s after the end.
    untold = [
        int(n) for n in re.findall(r"hooks dropped at the end of the service hooks=(\d+)", said)
    ]
    untold += [1] * said.count("'the service ends'")
    assert len(chunks) - len(heard) <= sum(untold)
    states = [line for line in told if line and not line.startswith("chunk")]
    assert {"waiting", "recording"} <= set(states)
    assert "idle" in states or untold


def to_file(service, folder):
    """A file has its true length when the listener is stopped."""
    with (folder / "out.wav").open("wb") as out:
        command = edgerec("tap", "user", "--socket", service.socket)
        listener = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE)
        assert b"48000 Hz" in listener.stderr.readline()  # it hears something
        listener.send_signal(signal.SIGTERM)
        listener.communicate(timeout=PATIENCE_S)
    assert listener.returncode == 0
    with wave.open(str(folder / "out.wav")) as wav:
        data = (folder / "out.wav").stat().st_size - 44
        assert wav.getnframes() == data // 2


def test_a_listener_is_told_when_the_service_ends(service):
    command = edgerec("tap", "user", "--socket", service.socket, "--raw")
    listener = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert b"48000 Hz" in listener.stderr.readline()
    service.process.send_signal(signal.SIGTERM)
    _, said = listener.communicate(timeout=PATIENCE_S)
    assert listener.returncode == 1
    assert said == b"edgerec tap: the service has ended\n"


def answered(tmp_path, *lines):
    """Run a tap against a service that says this and closes."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve():
            with listener.accept()[0] as client:
                client.makefile("rb").readline()
                client.sendall(b"".join(lines))

        threading.Thread(target=serve, daemon=True).start()
        return tap("user", "--socket", path, "--raw")


HEADER = encode_stream_header(StreamHeader(RATE, 1, "user", "mic", "monotonic_raw"))
BLOCK = encode_block(Block(0, 2, 1, 0, 0, b"abcd"))


def test_who_is_cut_off_is_told_why_behind_what_came(tmp_path):
    cut_off = error_line(None, "too_slow", "more audio was waiting", "read all the time")
    code, raw, said = answered(tmp_path, result_line(1, {}), HEADER, BLOCK, cut_off)
    assert (code, raw) == (1, b"abcd")
    assert said.endswith("edgerec tap: more audio was waiting; read all the time\n")


def test_a_refusal_is_told(tmp_path):
    code, _, said = answered(tmp_path, error_line(1, "busy", "64 taps are open", "close one"))
    assert (code, said) == (1, "edgerec tap: 64 taps are open; close one\n")


def test_a_service_that_vanishes_or_sends_rubbish_is_told(tmp_path):
    assert answered(tmp_path, result_line(1, {}))[0] == 1


def test_rubbish_is_told(tmp_path):
    code, _, said = answered(tmp_path, result_line(1, {}), HEADER, b"rubbish")
    assert code == 1
    assert "malformed block stream" in said


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["user", "--socket", "/nowhere/control.sock"], 1, "no service at /nowhere"),
        (["both"], 2, "invalid choice"),
        (["user", "--raw", "--wav"], 2, "not allowed with"),
    ],
)
def test_what_can_not_be_tapped_is_told(arguments, status, says):
    code, _, complaint = tap(*arguments)
    assert code == status
    assert says in complaint

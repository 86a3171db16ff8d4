"""10,000 requests that nobody should send, to a recorder that goes on: it does not notice."""

import contextlib
import json
import os
import random
import socket
import threading
from pathlib import Path

import pytest

from edgerec.audio import TRACKS
from edgerec.service.control.commands import commands_of
from edgerec.service.control.connection import MAX_LINE_BYTES
from edgerec.service.control.server import Control
from edgerec.service.control.socket import ControlSocket
from edgerec.service.reload import Reloader
from edgerec.service.taps import Taps
from edgerec.simulation.conversation import tone
from edgerec.store.archive.verify import verify
from tests.rigs.fakes import FakeClock, device
from tests.rigs.long_runs import open_files
from tests.rigs.made_recordings import chunks, sidecar
from tests.rigs.recorder_rig import EagerSource, Running
from tests.rigs.waiting import PATIENCE_S, wait_for

REQUESTS = 10_000
PER_CONNECTION = 80  # below the limit that has a test of its own
MAX_GROWTH_BYTES = 8 << 20
"""Over the second half. 5000 requests that each left 2 KB behind would be 10 MB."""
ENDINGS = ("close", "half", "huge", "reset")

WORDS = ("status", "start", "resume", "rotate", "reload", "feed", "mark", "stat", "", "pause ", "🎙")
VALUES = (None, True, 0, -1, 1e300, 10**40, "", "user", "bot", "x" * 5_000, [], [[]], {}, {"a": {}})


@pytest.fixture
def rig(tmp_path):
    """A recorder whose two devices always deliver."""
    world = tone(440)
    sources = {track: EagerSource(device(track, world=world)) for track in TRACKS}
    with Running(tmp_path / "root", lambda track, now_ns: sources[track], chunk_seconds=5.0) as rig:
        yield rig


@pytest.fixture
def path(rig, tmp_path):
    """The control socket of that recorder; its clients' time stands still."""
    config = rig.recorder.config
    reloader = Reloader(rig.recorder, tmp_path / "kiosk.yaml", load=lambda file: config)
    path = tmp_path / "control.sock"
    clock = FakeClock()
    with ControlSocket(path) as listening:
        commands = commands_of(rig.recorder, reloader.reload, Taps(clock))
        control = Control(listening, commands, clock)
        with control:
            yield path


def request(choice):
    """One line, without its end; most of them make no sense."""
    kind = choice.random()
    if kind < 0.05:
        return json.dumps({"id": choice.randrange(99), "command": "status"}).encode()
    if kind < 0.60:
        fields = {"id": choice.choice(VALUES), "command": choice.choice(WORDS)}
        if choice.random() < 0.5:
            fields["args"] = choice.choice((*VALUES, {"track": choice.choice(VALUES)}))
        if choice.random() < 0.1:
            fields[choice.choice(("command", "args", "idd"))] = choice.choice(VALUES)
        return json.dumps(fields).encode()
    if kind < 0.75:
        whole = json.dumps({"id": 1, "command": choice.choice(WORDS), "args": {}}).encode()
        return whole[: choice.randrange(len(whole))]
    if kind < 0.80:
        return choice.choice((b"[", b'{"a":')) * choice.randrange(1, 12_000)
    if kind < 0.85:
        return b'{"id": 1, "command": "' + b"s" * choice.randrange(50_000) + b'"}'
    return choice.randbytes(choice.randrange(300)).replace(b"\n", b"\0")


def well_formed(line):
    answer = json.loads(line)
    if answer["ok"] is True:
        return set(answer) == {"id", "ok", "result"} and isinstance(answer["result"], dict)
    error = answer["error"]
    return (
        set(answer) == {"id", "ok", "error"}
        and answer["ok"] is False
        and set(error) == {"code", "message", "hint"}
        and all(isinstance(text, str) for text in error.values())
    )


def annoy(path, choice, count):
    """Send so many requests over one connection, in pieces of any size; return the answers."""
    lines = b"".join(request(choice) + b"\n" for _ in range(count))
    ending = choice.choice(ENDINGS)
    if ending == "half":
        lines += b'{"id": 1, "comm'
    elif ending == "huge":
        lines += b"h" * (2 * MAX_LINE_BYTES)
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE_S)
        client.connect(str(path))
        sending = threading.Thread(target=_send, args=(client, lines, choice.random()), daemon=True)
        sending.start()
        answers = []
        with contextlib.suppress(ConnectionResetError), client.makefile("rb") as received:
            for line in received:
                answers.append(line)
                if len(answers) == count and ending == "reset":
                    break
        sending.join(PATIENCE_S)
        assert not sending.is_alive()
    return answers


def _send(client, lines, seed):
    choice = random.Random(seed)
    with contextlib.suppress(OSError):  # cut off, as it deserves
        while lines:
            piece = choice.choice((1, 10, 1_000, 100_000))
            client.sendall(lines[:piece])
            lines = lines[piece:]
        client.shutdown(socket.SHUT_WR)


def resident_bytes():
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_a_recorder_does_not_notice_10_000_requests_that_nobody_should_send(rig, path):
    choice = random.Random(1)
    rig.let_pass(3.0)
    sizes, files = [], []
    connections = REQUESTS // PER_CONNECTION
    for number in range(connections):
        answers = annoy(path, choice, PER_CONNECTION)
        assert len(answers) >= PER_CONNECTION
        assert all(well_formed(line) for line in answers)
        rig.let_pass(0.5)
        wait_for(lambda: rig.recorder.status().storage.writer_lag_seconds < 10)
        if number in (connections // 2, connections - 1):
            wait_for(lambda: threading.active_count() < 40)
            sizes.append(resident_bytes())
            files.append(open_files())
    rig.finish()
    recorded = chunks(rig.published)
    assert sum(one.frames for one in recorded) > 60 * 16_000
    for one in recorded:
        told = sidecar(one)
        assert told["missing_before"] == 0
        assert all(track["gaps"] == [] for track in told["tracks"].values())
    assert verify(rig.root).ok
    assert sizes[1] - sizes[0] < MAX_GROWTH_BYTES
    assert abs(files[1] - files[0]) <= 6  # a client or a chunk more or less


def test_clients_that_never_finish_or_never_read_leave_the_others_alone(rig, path):
    with contextlib.ExitStack() as stack:
        for number in range(20):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(PATIENCE_S)
            client.connect(str(path))
            client.sendall(b'{"id": 1, "command": "status"' if number % 2 else b"\n" * 150)
        rig.let_pass(3.0)
        answers = annoy(path, random.Random(2), PER_CONNECTION)
        assert len(answers) >= PER_CONNECTION

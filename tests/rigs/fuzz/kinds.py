"""Fuzzers of what a start reads: journals, `.state`, sidecars and mount tables.

Each makes one input and has it read by all that reads it. An input costs itself: no exception but
those that a reader documents, nothing left in the work folder, no audio gone, and a session can be
recorded afterwards. Audio may go that the journal itself declares unreliable.
"""

import itertools
import json
import os
import random
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from edgerec.engine.housekeeping import DriftMemory
from edgerec.health.echo_memory import Remembered, add_chirp, read_chirps, read_echo
from edgerec.health.status import Chirp
from edgerec.store import publish
from edgerec.store.archive.tree import find_files
from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.store.mount import check_mounted
from edgerec.store.records.gap_map import Change
from edgerec.store.records.naming import FORMS
from edgerec.store.records.sidecar_reader import SidecarError, read_sidecar
from edgerec.store.retention.cleanup import SWEEP_NS, Cleanup
from edgerec.store.retention.plan import Quota
from edgerec.store.root import StorageRoot
from edgerec.store.writing.journal import VERSION, Closing, Opening
from edgerec.store.writing.recover import recover
from edgerec.store.writing.rotation import Cutting
from edgerec.store.writing.session_summary import Totals
from edgerec.store.writing.wav import HEADER_BYTES
from edgerec.validation.bounded_json import JsonError
from tests.rigs.damaged_files import ODD_VALUES, damage, damage_journal
from tests.rigs.fuzz.grammar import Grammar
from tests.rigs.leftovers import NEXT_BOOT, NOW, TRACKS_TOO, crash
from tests.rigs.made_recordings import FOREVER, REPORTS, quiet_span, record, recording

AUDIO = {form.suffix for form in FORMS.values()}
QUOTA = Quota(86_400_000_000_000, 10**6, 0, keep_unacknowledged=True, reserve_bytes=0)


class WrongError(AssertionError):
    """An input cost more than itself."""


def fuzz_journal(rng: random.Random, folder: Path) -> None:
    """A journal from its grammar, or a real one damaged, beside audio; then a start."""
    with StorageRoot(folder / "root") as root:
        crash(root, [quiet_span(0, 30), quiet_span(30, 9, 1)], layout=TRACKS_TOO, synced=1)
        for journal in sorted(root.work.glob("*.journal")):
            damage_journal(journal, rng, rng.randint(0, 3))
        for number in range(rng.randint(1, 3)):
            _draw_journal(rng, root, number)
        _recover(rng, root)


def _draw_journal(rng, root, number):
    what = rng.choice(["chunk", "chunk", "chunk", "turn-user", "turn-bot", "user"])
    name = f"0000abcd_{number:06d}_{what}.journal"
    given = {
        "id": "0000abcd",
        "sequence": number,
        "kiosk": "k1",
        "sample_rate": 1000,
        "num_channels": rng.choice([1, 2]),
        "main": what,
        "speaker": what.removeprefix("turn-"),
        "frames": 39,
        "boot_id": "boot",
    }
    if what == "chunk":
        given["turn"] = None
    grammar = Grammar(rng, rng.choice([0.0, 0.0, 0.02, 0.2]), given)
    lines = [{"edgerec_journal": VERSION, **_as_object(grammar.draw(Opening))}]
    lines += [
        {"track": rng.choice(["user", "bot"]), **_as_object(grammar.draw(Change))}
        for _ in range(rng.choice([0, 1, 5, 200]))
    ]
    if rng.random() < 0.2:
        lines.append({"durable_frames": grammar.draw(int)})
    if rng.random() < 0.6:
        lines.append({"closing": grammar.draw(Closing)})
    if rng.random() < 0.1:
        rng.shuffle(lines)
    _write_lines(root.work / name, lines)
    for file in rng.sample(["chunk", "user", "bot", "turn-user", "turn-bot"], k=rng.randint(0, 4)):
        suffix = rng.choice(sorted(AUDIO))
        size = rng.choice([0, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 80, 100_000])
        real = root.work / "9f3a01c2_000000_chunk.wav"
        data = real.read_bytes() if rng.random() < 0.5 else rng.randbytes(size)
        (root.work / f"0000abcd_{number:06d}_{file}{suffix}").write_bytes(data)


def fuzz_state(rng: random.Random, folder: Path) -> None:
    """Everything in `.state/`, beside a session that was cut short; then a start."""
    path = folder / "root"
    with StorageRoot(path) as root:
        root.open_session("k1")
        crash(root, [quiet_span(0, 30)], synced=1)
        oddness = rng.choice([0.0, 0.02, 0.2])
        grammar = Grammar(rng, oddness, {"kiosk": "k1"})
        for file in root.state.glob("open-session-*.json"):
            if rng.random() < 0.5:
                file.write_text(json.dumps(damage(json.loads(file.read_text()), rng, 2)))
        for name in (
            "open-session-0000abcd.json",
            "open-session.json",
            "open-session-9f3a01c2.json",
        ):
            if rng.random() < 0.4:
                given = {
                    "kiosk": "k1",
                    "id": rng.choice(["0000abcd", "9f3a01c2"]),
                    "sample_rate": 1000,
                    "gaps": {"user": {}, "bot": {}},
                }
                totals = Grammar(rng, oddness, given).draw(Totals)
                _write_json(rng, root.state / name, totals)
        counter = {"number": grammar.draw(int), "session": grammar.draw(str)}
        _write_json(rng, root.state / "session.json", counter)
        _write_json(rng, root.state / "drift.json", {rng.choice("abé"): grammar.draw(float)})
        _write_json(rng, root.state / "echo.json", _echo(rng, grammar))
        _write_json(rng, root.state / "chirps.json", {"chirps": [grammar.draw(Chirp)] * 3})
    with StorageRoot(path) as root:
        DriftMemory(root.state / "drift.json").save()
        with suppress(JsonError):
            read_echo(root.state / "echo.json")
        add_chirp(root.state / "chirps.json", Chirp("", utc_trusted=False, delay_ms=None,
                                                    user_dbfs=None, bot_dbfs=None))  # fmt: skip
        assert read_chirps(root.state / "chirps.json")
        _recover(rng, root)


def fuzz_sidecar(rng: random.Random, folder: Path) -> None:
    """Published sidecars, damaged; read by retention, `verify`, `turns` and a start."""
    path = folder / "root"
    with suppress(StoreError), _interrupted(rng.randint(0, 12)):
        record(path, [quiet_span(0, 40), quiet_span(40, 20, 1)], layout=TRACKS_TOO,
               cutting=Cutting(20, FOREVER))  # fmt: skip
    for sidecar in sorted(path.glob("ready/*/*/*.json")):
        if rng.random() < 0.7:
            fields = damage(json.loads(sidecar.read_text()), rng, rng.randint(1, 4))
            sidecar.chmod(0o640)
            _write_json(rng, sidecar, fields)
        with suppress(SidecarError):
            read_sidecar(sidecar)
    verify(path)
    find_files(path)
    with StorageRoot(path) as root:
        cleanup = Cleanup(root, QUOTA, bytes_per_s=1.0, stamp_now=lambda: NOW)
        for step in range(4):
            cleanup.step(step * SWEEP_NS)
        _recover(rng, root)


def fuzz_mounts(rng: random.Random, folder: Path) -> None:
    """Tables of mounts of any bytes."""
    tables = [folder / "fstab", folder / "mounts"]
    for table in tables:
        rows = (_row(rng) for _ in range(rng.randint(0, 12)))
        table.write_bytes(rng.choice([b"\n", b"\n", b"\r\n", b"\0"]).join(rows))
    roots = ("/media/usb/edgerec", "/media/two words", "/", str(folder), "/media/caf\udce9/x")
    with suppress(StoreError):
        check_mounted(
            Path(rng.choice(roots)),
            require_mount=rng.random() < 0.3,
            fstab=tables[0],
            mounts=tables[1],
        )


def _row(rng):
    points = [b"/media/usb", b"/media/two\\040words", b"/media/caf\xe9", b"none", b"/", b"//", b"",
              b"\\000", b"/a\\000b", b"/\\377\\400\\0", b"/../..", b"/" + b"x" * 5000,
              b"relative", "/ü\u2028x".encode(), rng.randbytes(rng.randint(0, 30))]  # fmt: skip
    fields = [rng.choice([b"/dev/sda1", b"#", b"UUID=1", b"tmpfs"]), rng.choice(points), b"ext4"]
    fields += rng.choices([b"rw", b"0", b"\x0b", b"\x85", b""], k=rng.randint(0, 4))
    return rng.choice([b" ", b"\t", b"  \t "]).join(fields[: rng.randint(0, len(fields))])


@contextmanager
def _interrupted(nth):
    """Fail before the nth published file gets its last name, and so all that follow."""
    calls = itertools.count()

    def fail(audio, final, real=publish.place):
        if next(calls) >= nth:
            raise StoreError("moving", final, "interrupted")
        real(audio, final)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "place", fail)
        yield


KINDS = {
    "journals": fuzz_journal,
    ".state": fuzz_state,
    "sidecars": fuzz_sidecar,
    "mount tables": fuzz_mounts,
}


def _recover(rng, root):
    """Start on it: all is taken out of the work folder, and a session can be recorded."""
    before = _audio(root.work, root.ready)
    unreliable = any(map(_is_unreliable, root.work.glob("*.journal")))
    now = rng.choice([NOW, NEXT_BOOT])
    done = recover(root, now)
    if done.left:
        raise WrongError(f"left: {done.left}")
    left = [path.name for path in root.work.iterdir()]
    if left:
        raise WrongError(f"left in .work: {left}")
    after = _audio(root.ready, root.quarantine)
    if after < before and not unreliable and now is NOW:
        raise WrongError(f"{before} audio files became {after}")
    published = []
    session = recording(root, published, session=root.open_session("k1"))
    session.write(quiet_span(0, 20), REPORTS)
    session.finish("stop")
    if [one.what for one in published] != ["chunk", "session"]:
        raise WrongError(f"a session published {published}")


def _is_unreliable(journal):
    """Whether audio of a chunk may go.

    A sync has failed, or it is of another boot, so that only what was synced counts; or it was cut
    short in its first moment.
    """
    said, main = journal.read_bytes(), journal.with_suffix(".wav")
    others = said.count(b'"boot_id"') - said.count(b'"boot_id": "boot"')
    is_empty = main.exists() and main.stat().st_size <= HEADER_BYTES
    return b"durable_frames" in said or others > 0 or is_empty


def _audio(*folders):
    """How many files hold audio."""
    files = itertools.chain.from_iterable(folder.rglob("*") for folder in folders)
    return sum(path.suffix in AUDIO and path.stat().st_size > HEADER_BYTES for path in files)


def _echo(rng, grammar):
    drawn = grammar.draw(Remembered)
    return {"format": "edgerec-echo/1", **_as_object(drawn), "samples": [[grammar.draw(float)] * 3],
            "days": [rng.choice(ODD_VALUES)] * rng.randint(0, 2)}  # fmt: skip


def _as_object(value):
    return value if isinstance(value, dict) else {"odd": value}


def _write_lines(path, lines):
    bodies = [json.dumps(line).encode() for line in lines]
    path.write_bytes(b"".join(b"%08x %s\n" % (zlib.crc32(body), body) for body in bodies))


def _write_json(rng, path, value):
    """Write it; one time in ten something happens to its bytes."""
    data = json.dumps(value).encode()
    if rng.random() < 0.1:
        at = rng.randrange(len(data) + 1)
        data = rng.choice([data[:at], data[:at] + rng.randbytes(3) + data[at:], data * 2, b""])
    path.write_bytes(data)
    os.truncate(path, len(data) if rng.random() < 0.99 else 1 << 40)

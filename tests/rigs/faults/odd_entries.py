"""Files and folders of every odd kind, made where a service does not expect them."""

import os
import shutil
import socket

CHUNK = "0000abcd_000000_chunk"


def _sized(size_bytes):
    def make(path):
        path.touch()
        os.truncate(path, size_bytes)

    return make


def _socket(path):
    short = path.with_name(".socket")  # what it is bound to has 107 bytes at most
    here = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{here}/{short.name}")
    finally:
        os.close(here)
    short.rename(path)


def _folder(path):
    path.mkdir()
    (path / f"{CHUNK}.wav").write_bytes(b"x" * 5000)


def _huge_name(path):
    return path.with_name("x" * 251 + path.suffix[:4])


KINDS = {
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "a dangling link": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": _folder,
    "an empty file": _sized(0),
    "a sparse file of a terabyte": _sized(1 << 40),
    "a file of zeros": _sized(500),
    "a file without permissions": lambda path: (_sized(5000)(path), path.chmod(0)),
}
NAMES = (
    f"{CHUNK}.journal",
    f"{CHUNK}.wav",
    "0000abcd_000000_user.flac",
    "x" * 251 + ".wav",
    "é" * 127 + "x",
    os.fsdecode(b"\xff\xfe\n\x1b[2J"),
    ".nfs0000000000000001",
    "20261122T101500.123Z_0000abcd_000000_chunk.json",
    "20261122T101500.123Z_0000abcd_000000_chunk.wav",
    "open-session-0000abcd.json",
    "kiosk=k1x",
    "edgerec.yaml",
)


def scatter(site, folder, names=NAMES, *, foreign=False):
    """Put a few odd entries into a folder; `foreign`: of another user. Names that are taken stay.

    Those that are left by then are removed by `sweep`.
    """
    made = site.kept.setdefault("entries", [])
    for name in site.rng.sample(names, k=min(4, len(names))):
        path = folder / name
        if os.path.lexists(path) or not folder.is_dir():
            continue
        kind = site.rng.choice(list(KINDS))
        KINDS[kind](path)
        made.append(path)
        if not foreign:
            site.kiosk.give(path)
            if path.is_dir() and not path.is_symlink():
                site.kiosk.give(path / f"{CHUNK}.wav")


def sweep(site):
    """Remove what was scattered, as somebody does who looks at the status."""
    for path in site.kept.pop("entries", ()):
        remove(path)


def remove(path):
    """Remove whatever it is, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()

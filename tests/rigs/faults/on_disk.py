"""Faults of the disk: full, no inodes, read-only, frozen, dead, failing in one kind of call."""

import contextlib
import fcntl
import os
import shutil
import signal
import struct
import subprocess

from tests.rigs.faults.shimmed_run import CALLS
from tests.rigs.faults.table import fault

IMAGE_BYTES = 16 << 30  # sparse; a day's room, so that the status has nothing to say of that
INODES = 20_000
_EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32), fs/ext4/ext4.h
_NO_LOG_FLUSH = struct.pack("I", 2)


class Disk:
    """An ext4 file system in a sparse file, mounted until it is closed."""

    def __init__(self, folder):
        self._image = folder / "image-0"
        self.place = folder / "disk"
        self.place.mkdir()
        with self._image.open("wb") as image:
            image.truncate(IMAGE_BYTES)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-J", "size=8", "-N", INODES,
             "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", self._image)  # fmt: skip
        self._mount()

    def _mount(self):
        _run("mount", "-o", "loop", self._image, self.place)

    def read_only(self):
        """The same folder, read-only, in front of it: remounting waits for every open file."""
        _run("mount", "--bind", self.place, self.place)
        _run("mount", "-o", "remount,bind,ro", self.place)

    def uncover(self):
        _run("umount", self.place)

    def freeze(self):
        _run("fsfreeze", "--freeze", self.place)

    def thaw(self):
        _run("fsfreeze", "--unfreeze", self.place)

    def fail(self):
        """Fail every call from now on, as a disk that is pulled out."""
        fd = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _EXT4_IOC_SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(fd)

    def come_back(self):
        """Be there again with what was synced: a copy, as the old one is still somebody's."""
        _run("umount", "--lazy", self.place)
        copy = self._image.with_name(f"image-{int(self._image.name.rpartition('-')[2]) + 1}")
        _run("cp", "--sparse=always", self._image, copy)
        self._image = copy
        self._mount()

    def close(self):
        with contextlib.suppress(subprocess.CalledProcessError):
            self.thaw()
        while os.path.ismount(self.place):
            _run("umount", "--lazy", self.place)


def _run(*command):
    subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)


def fill(site):
    """Take all the room there is."""
    filler = site.disk.place / "filler"
    with filler.open("wb", buffering=0) as file:
        free = shutil.disk_usage(filler).free
        os.posix_fallocate(file.fileno(), 0, free - (64 << 10))
        file.seek(free - (64 << 10))
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))


def empty(site):
    (site.disk.place / "filler").unlink(missing_ok=True)


def take_inodes(site):
    folder = site.disk.place / "many"
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(OSError):
        for number in range(INODES * 2):
            (folder / str(number)).touch()


def give_inodes(site):
    shutil.rmtree(site.disk.place / "many")


def failing(*calls):
    return lambda site: site.kiosk.shim(calls=calls)


def healed(site):
    site.kiosk.shim(calls=())


def bad_luck(site):
    """Two kinds of calls fail, whichever."""
    site.kiosk.shim(calls=site.rng.sample(CALLS, k=2))


def started_on(inject):
    """A kill, the fault, and a start on it: the process may end, and is started again."""

    def restart(site):
        site.kiosk.end(signal.SIGKILL)
        inject(site)
        site.kiosk.launch()

    return restart


def captures_after(heal):
    def healed_and_started(site):
        heal(site)
        site.kiosk.wait_until_it_captures(again=True)

    return healed_and_started


START = {"restarts": True, "hold_s": (4.0, 6.0)}
DISK = {"needs": "disk"}
LONG = {"hold_s": (24.0, 28.0), "may_lose": "missing"}
FAULTS = (
    fault("a full disk", fill, empty, told="disk publish", **DISK),
    fault("a full disk for longer than memory holds", fill, empty, told="disk publish",
          **LONG, **DISK),
    fault("no inodes", take_inodes, give_inodes, told="disk publish space", **DISK),
    fault("a read-only disk", lambda site: site.disk.read_only(),
          lambda site: site.disk.uncover(), told="disk publish", **DISK),
    fault("a frozen disk", lambda site: site.disk.freeze(), lambda site: site.disk.thaw(),
          told="disk publish", hold_s=(0.1, 1.0), **DISK),
    fault("a frozen disk for longer than memory holds", lambda site: site.disk.freeze(),
          lambda site: site.disk.thaw(), told="disk publish", **LONG, **DISK),
    fault("a disk that dies and comes back", lambda site: site.disk.fail(),
          lambda site: site.disk.come_back(), told="disk publish", **DISK),
    fault("a start on a full disk", started_on(fill), captures_after(empty), **START, **DISK),
    fault("a start without inodes", started_on(take_inodes), captures_after(give_inodes),
          **START, **DISK),
    fault("a start on a read-only disk", started_on(lambda site: site.disk.read_only()),
          captures_after(lambda site: site.disk.uncover()), **START, **DISK),
    fault("a start on a disk that fails", started_on(bad_luck), captures_after(healed), **START),
    fault("a start that can look at nothing", started_on(failing("stat", "lstat")),
          captures_after(healed), **START),
    fault("a start that can list nothing", started_on(failing("scandir", "listdir")),
          captures_after(healed), **START),
    fault("EIO at every write", failing("write", "pwrite"), healed, told="disk publish"),
    fault("EIO at every sync", failing("fsync", "fdatasync"), healed, told="disk publish"),
    fault("EIO at every open", failing("open"), healed, told="disk publish"),
    fault("EIO at every rename", failing("rename", "replace", "link"), healed, told="publish disk"),
    fault("EIO at every deletion", failing("unlink"), healed, told="publish disk"),
    fault("EIO at every look", failing("stat", "lstat"), healed, told="publish disk"),
    fault("EIO at every listing", failing("scandir", "listdir"), healed),  # told within a minute
    fault("EIO at two calls", bad_luck, healed),
    fault("EIO for longer than memory holds", failing("fsync", "write"), healed,
          told="disk publish", **LONG),
)  # fmt: skip

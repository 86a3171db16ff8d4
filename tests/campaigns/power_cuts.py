"""Power cuts of a real ext4 file system at random moments of a recording: what is lost.

EXT4_IOC_SHUTDOWN stops every write to the device at once; what was not synced by then is not there
when the file system is mounted again.
"""

import fcntl
import os
import random
import shutil
import struct
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from edgerec.clock import monotonic_now_ns
from tests.rigs.cut_recording import Service, count, outcome, require_mounts, settings_of

BOUND_S = 2.5
IMAGE_BYTES = 64 * 1024 * 1024
_EXT4_IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32), fs/ext4/ext4.h
_NO_LOG_FLUSH = struct.pack("I", 2)


class Disk:
    """An ext4 file system in a file."""

    def __init__(self, folder):
        self._image = folder / "image"
        self.mount_point = folder / "mount"
        self.mount_point.mkdir()
        with self._image.open("wb") as image:
            image.truncate(IMAGE_BYTES)
        _run("mkfs.ext4", "-q", "-F", self._image)

    @contextmanager
    def mounted(self, options="loop"):
        """Mount it inside."""
        _run("mount", "-o", options, self._image, self.mount_point)
        try:
            yield self.mount_point
        finally:
            _run("umount", self.mount_point)

    def boot(self):
        """Have a copy in its place: of the other, somebody may still have the file system.

        Whoever makes a mount namespace has all that is mounted in it: what is unmounted here stays
        what it was, and mounted again it would be the same file system, without power.
        """
        copy = self._image.with_name("image of the next boot")
        shutil.copyfile(self._image, copy)
        self._image = copy

    def cut_power(self):
        """Stop every write from now on; return when, on CLOCK_MONOTONIC."""
        fd = os.open(self.mount_point, os.O_RDONLY)
        try:
            cut_ns = monotonic_now_ns()
            fcntl.ioctl(fd, _EXT4_IOC_SHUTDOWN, _NO_LOG_FLUSH)
        finally:
            os.close(fd)
        return cut_ns


def _run(*command):
    subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)


def cut_once(number, folder, seed):
    """Record, cut the power, start again, recover; the settings change with the number."""
    rng = random.Random(f"{seed} {number}")
    disk = Disk(folder)
    with disk.mounted() as place:
        service = Service(folder, place / "root", **settings_of(number))
        service.wait_for_a_random_moment(rng)
        cut_ns = disk.cut_power()
        service.kill()
    disk.boot()
    with disk.mounted():
        return outcome(service, cut_ns, next_boot=True)


def power_cuts(count, *, seed):
    """Yield the outcome of each of `count` power cuts."""
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            yield cut_once(number, Path(folder), seed)


def options(parser):
    parser.add_argument("--number", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--seed", default="campaign", help="of the moments")


def run(args):
    require_mounts()
    return count(power_cuts(args.number, seed=args.seed), args.number, BOUND_S)

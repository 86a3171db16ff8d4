"""A Debian of one release in a folder, in which a plain user with sudo works at a checkout.

It shares this machine's kernel, network and devices; it sees only its own processes, which end with
what has started them. Only root can make one.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests import CHECKOUT

__all__ = [
    "RELEASES",
    "Debian",
    "bare_root",
    "root_with_checkout",
    "root_with_pipewire_alsa",
    "wheels",
]

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgerec"
RELEASES = ("bookworm", "trixie")  # Debian 12 and 13
USER = "pi"
HOME = f"/home/{USER}"
OF_THIS_MACHINE = (
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/pip.conf",
    "/etc/ssl/certs/ca-certificates.crt",
)
"""By these it reaches the network as this machine does."""

SETUP_S = 1200.0  # a busy machine with a slow network
STEPS = (
    "scripts/setup",
    "scripts/environment",
    "scripts/wheels",
    "scripts/lib",
    "pyproject.toml",
    "requirements",
)
"""By these, and a root, the environment of a checkout in it is given."""

ENTER = """
root=$1
mount --rbind /dev "$root/dev"
mount --rbind --read-only /sys "$root/sys"
mount -t proc proc "$root/proc"
shift
while [[ $1 != -- ]]; do
  mount --bind "$1" "$root$2"
  shift 2
done
shift
chroot "$root" runuser -u pi -- env -i HOME=/home/pi USER=pi LOGNAME=pi LANG=C.UTF-8 \\
  PATH=/usr/local/bin:/usr/bin:/bin bash -euc "cd; $1"
exit $?  # as the first process it also sees to those whose parents have ended
"""


class Debian:
    """A copy of a root that is kept, to be spoilt.

    Parameters
    ----------
    root
        Where it will be.
    like
        Which: see `bare_root` and `root_with_checkout`.
    """

    def __init__(self, root: Path, like: Path) -> None:
        self.root = root
        copy(like, root)

    def run(self, command: str, *, timeout_s: float, binds: dict[Path, str] | None = None) -> str:
        """Run a shell command line as the user, in the user's home; return what it printed."""
        done = subprocess.run(
            self._entering(command, binds or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def call(self, command: str, *, timeout_s: float) -> int:
        """Run one whose output is seen; return its status."""
        return subprocess.call(
            self._entering(command, {}), stdin=subprocess.DEVNULL, timeout=timeout_s
        )

    def give_sources(self) -> None:
        """Put a repository of this checkout, as it is now, where `git clone` can have it."""
        repository = self.root / "srv" / "edgerec.git"
        shutil.rmtree(repository, ignore_errors=True)
        pack_sources(repository)
        own(repository, like=self.root / HOME.lstrip("/"))

    def clone(self) -> None:
        """Clone this checkout, as it is now, into the user's home, or bring a clone to it."""
        self.give_sources()
        self.run(
            "[[ -e edgerec ]] || git clone -q /srv/edgerec.git edgerec; "
            "cd edgerec; git fetch -q; git reset -q --hard FETCH_HEAD",
            timeout_s=SETUP_S,
        )

    def delete(self) -> None:
        """Remove it from the disk."""
        shutil.rmtree(self.root)

    def _entering(self, command: str, binds: dict[Path, str]) -> list[str]:
        bound = {Path(path): path for path in OF_THIS_MACHINE if Path(path).exists()} | binds
        for source, target in bound.items():
            place = self.root / target.lstrip("/")
            if source.is_dir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.touch()
        pairs = [str(word) for pair in bound.items() for word in pair]
        inside = ["bash", "-euc", ENTER, "-", str(self.root), *pairs, "--", command]
        ends_with_us = ["setpriv", "--pdeathsig", "KILL"]
        return [*ends_with_us, "unshare", "--mount", "--pid", "--fork", "--kill-child", *inside]


def bare_root(release: str) -> Path:
    """Return a kept root that knows nothing of edgerec, of one of `RELEASES` or of `sid`."""
    command = [CHECKOUT / "scripts" / "debian-root", release]
    made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Path(made.stdout.strip())


def root_with_checkout(release: str) -> Path:
    """Return a kept root in which the user has a clone, set up for its tests."""

    def make(debian: Debian) -> Path:
        debian.clone()
        debian.run(
            "edgerec/scripts/setup --tests; sudo apt-get clean; sudo rm -r /var/lib/apt/lists",
            timeout_s=SETUP_S,
        )
        return debian.root

    return kept("checkout", release, make)


def root_with_pipewire_alsa(release: str) -> Path:
    """Return a kept root like `root_with_checkout`, in which ALSA's default is PipeWire's plug-in.

    As on a desktop of today. The package removes PulseAudio's.
    """

    def make(debian: Debian) -> Path:
        debian.run(
            "sudo apt-get update -qq; sudo apt-get install -y -qq pipewire-alsa; "
            "edgerec/scripts/setup --tests; sudo apt-get clean; sudo rm -r /var/lib/apt/lists",
            timeout_s=SETUP_S,
        )
        return debian.root

    return kept("pipewire-alsa", release, make, root_with_checkout)


def wheels(release: str) -> Path:
    """Return a kept folder of what `scripts/setup` and `scripts/install --vad` need of Python."""

    def make(debian: Debian) -> Path:
        folder = debian.root / HOME.lstrip("/") / "wheels"
        debian.clone()
        debian.run("edgerec/scripts/wheels --vad ~/wheels", timeout_s=SETUP_S)
        return folder

    return kept("wheels", release, make)


def kept(
    kind: str,
    release: str,
    make: Callable[[Debian], Path],
    like: Callable[[str], Path] = bare_root,
) -> Path:
    """Return what `make` makes in a Debian of its own; it is kept while it would be the same."""
    root = like(release)
    inputs = hashlib.sha256(root.name.encode())
    for step in STEPS:
        for path in sorted([CHECKOUT / step, *(CHECKOUT / step).glob("*")]):
            if path.is_file():
                inputs.update(path.read_bytes())
    place = CACHE / f"{release}-{kind}-{inputs.hexdigest()[:12]}"
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two at a time would make it twice
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                make(Debian(Path(folder) / "root", root)).rename(place)
    return place


def copy(source: Path, target: Path) -> None:
    """Copy a whole root, with its owners and links."""
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)


def own(folder: Path, *, like: Path) -> None:
    """Give a folder to the owner of another."""
    subprocess.run(["chown", "-R", f"--reference={like}", folder], check=True)


def pack_sources(repository: Path) -> None:
    """Make a repository of what is in this checkout, committed or not, but for what is ignored."""
    env = {
        "PATH": os.environ["PATH"],
        "GIT_DIR": str(repository),
        "GIT_CONFIG_GLOBAL": os.devnull,
        **{f"GIT_{who}_NAME": "edgerec" for who in ("AUTHOR", "COMMITTER")},
        **{f"GIT_{who}_EMAIL": "edgerec@localhost" for who in ("AUTHOR", "COMMITTER")},
    }
    for words in (
        "init --quiet --bare --initial-branch=main",
        f"--work-tree={CHECKOUT} add --all",
        f"--work-tree={CHECKOUT} commit --quiet --message=checkout",
    ):
        subprocess.run(["git", *words.split()], env=env, cwd=CHECKOUT, check=True)

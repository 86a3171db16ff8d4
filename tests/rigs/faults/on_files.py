"""Faults of files and folders of the storage root: odd ones, taken ones, forbidden ones."""

import os
import shutil
import signal
import zlib

from tests.rigs.damaged_files import (
    damage_journal,
    damage_json,
    read_journal_lines,
    write_journal_lines,
)
from tests.rigs.faults.odd_entries import KINDS, remove, scatter, sweep
from tests.rigs.faults.table import fault

STATE_NAMES = ("session.json", "session.json.new", "root-id", "lock", "drift.json", "echo.json",
               "chirps.json", "open-session-0000abcd.json", "open-session.json")  # fmt: skip


def scattered(folder, **how):
    return lambda site: scatter(site, site.root / folder, **how)


def in_a_day(site):
    for day in site.root.glob("ready/kiosk=*/date=*"):
        scatter(site, day)


def restarted(damage):
    """A kill, the damage, and a start on it."""

    def inject(site):
        site.kiosk.end(signal.SIGKILL)
        damage(site)
        site.kiosk.start()

    return inject


def odd_state(site):
    """Put something odd in the place of files of the state."""
    for name in site.rng.sample(STATE_NAMES, k=3):
        path = site.root / ".state" / name
        remove(path)
        KINDS[site.rng.choice(list(KINDS))](path)
        if site.rng.random() < 0.7:
            site.kiosk.give(path)
        site.kept.setdefault("entries", []).append(path)


def damaged_state(site):
    for path in site.root.glob(".state/*.json"):
        if "open-session" not in path.name:  # which has what is published, and would be a loss
            damage_json(path, site.rng, 2)
            site.kiosk.give(path)


def planted(change):
    """Put a copy of a chunk in progress beside it: another session's, its journal changed."""

    def plant(site):
        for journal in sorted(site.root.glob(".work/*.journal")):
            session = f"{site.rng.getrandbits(32):08x}"
            lines = journal.read_bytes().replace(journal.name[:8].encode(), session.encode())
            copy = journal.with_name(session + journal.name[8:])
            copy.write_bytes(lines)
            _sum_again(copy)
            audio = journal.with_suffix(".wav")
            if audio.is_file():
                shutil.copyfile(audio, copy.with_suffix(".wav"))
                site.kiosk.give(copy.with_suffix(".wav"))
            change(copy, site.rng)
            site.kiosk.give(copy)
            site.kiosk.planted.add(session)

    return restarted(plant)


def _sum_again(path):
    bodies = [line.partition(b" ")[2] for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(b"%08x %s\n" % (zlib.crc32(body), body) for body in bodies))


def damage(path, rng):
    damage_journal(path, rng, rng.randint(1, 4))


def make_newer(path, rng):
    """Say more than this version knows, in fields and lines."""
    lines = read_journal_lines(path)
    lines[0]["newer"] = {"field": [1, 2]}
    lines.insert(1, {"newer_line": rng.random()})
    write_journal_lines(path, lines)


def tear(path, rng):
    """Cut it anywhere, or write over the middle."""
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    if rng.random() < 0.5:
        del data[at:]
    else:
        data[at : at + 20] = rng.randbytes(len(data[at : at + 20]))
    path.write_bytes(data)


def move_ready(site):
    site.kiosk.fetch()
    away = site.root / f"ready-{site.rng.getrandbits(32):08x}"
    (site.root / "ready").rename(away)


def file_for_ready(site):
    move_ready(site)
    try:
        with (site.root / "ready").open("x"):
            pass
    except FileExistsError:  # it was made again in between
        site.kept["made again"] = True


def unfile_ready(site):
    if (site.root / "ready").is_file():
        (site.root / "ready").unlink()


def forbidden(pattern, mode=0o500):
    """Take permissions away."""

    def inject(site):
        paths = site.root.glob(pattern) if pattern else [site.root]
        site.kept["modes"] = [(path, path.stat().st_mode) for path in paths]
        for path, _ in site.kept["modes"]:
            path.chmod(mode)

    return inject


def allowed(site):
    for path, mode in site.kept.pop("modes", ()):
        path.chmod(mode & 0o7777)


def take_day(site):
    for path in site.root.glob("ready/kiosk=*/date=*"):
        os.chown(path, 0, 0)
        site.kept.setdefault("taken", []).append(path)


def give_day(site):
    for path in site.kept.pop("taken", ()):
        site.kiosk.give(path)


RETENTION_S = (
    75.0  # it looks at everything once a minute (docs/contract.md: "within the last minute")
)
FAULTS = (
    fault("odd entries in ready/", scattered("ready"), sweep, ok_s=RETENTION_S),
    fault("odd entries in a day", in_a_day, sweep, ok_s=RETENTION_S),
    fault("odd entries in .work/", scattered(".work"), sweep),
    fault("odd entries in .state/", scattered(".state"), sweep),
    fault("odd entries in quarantine/", scattered("quarantine"), sweep),
    fault("another user's entries in .work/", scattered(".work", foreign=True), sweep,
          needs="user"),
    fault("another user's entries in ready/", scattered("ready", foreign=True), sweep,
          ok_s=RETENTION_S, needs="user"),
    fault("a start on odd entries in .work/", restarted(scattered(".work")), sweep, restarts=True),
    fault("a start on another user's entries in .work/",
          restarted(scattered(".work", foreign=True)), sweep, restarts=True, needs="user"),
    fault("a start on odd entries in .state/", restarted(odd_state), sweep, restarts=True),
    fault("a start on a damaged .state", restarted(damaged_state), restarts=True),
    fault("a start on damaged journals", planted(damage), restarts=True),
    fault("a start on newer journals", planted(make_newer), restarts=True),
    fault("a start on torn journals", planted(tear), restarts=True),
    fault("ready/ is moved away", move_ready),
    fault("ready/ is a file", file_for_ready, unfile_ready, told="publish"),
    fault("quarantine/ is gone", lambda site: shutil.rmtree(site.root / "quarantine")),
    fault("ready/ is read-only", forbidden("ready"), allowed, needs="user"),
    fault("a day is read-only", forbidden("ready/kiosk=*/date=*"), allowed, told="publish",
          needs="user"),
    fault("a day is another user's", take_day, give_day, told="publish", needs="user"),
    fault(".work/ is read-only", forbidden(".work"), allowed, told="disk publish", needs="user"),
    fault(".work/ is closed", forbidden(".work", 0), allowed, told="disk publish", needs="user"),
    fault(".state/ is read-only", forbidden(".state"), allowed, told="disk publish", needs="user"),
    fault("all of the root is closed", forbidden("", 0), allowed, told="disk publish",
          needs="user"),
)  # fmt: skip

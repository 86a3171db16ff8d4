"""Faults of programs around the recording: kills, stops, clocks, hooks, feeds, clients, files."""

import contextlib
import json
import os
import signal
import socket
import threading

from tests.rigs.faults.feeds import SHAPES, misbehave
from tests.rigs.faults.table import GAPS, fault
from tests.rigs.machine import family

HOURS_8 = 8 * 3600
JUMPS_S = (-10 * 365 * 86_400, -3600, -1, 1, 3600, 10 * 365 * 86_400)


def killed(how):
    def inject(site):
        site.kiosk.end(how)
        site.kiosk.start()

    return inject


def kill_child(site):
    for pid in site.kiosk.children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def stop_child(site):
    site.kept["stopped"] = site.kiosk.children()
    for pid in site.kept["stopped"]:
        os.kill(pid, signal.SIGSTOP)


def continue_child(site):
    for pid in site.kept.pop("stopped", ()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def stop_all(site):
    """As a machine that is suspended, or a hypervisor that looks elsewhere."""
    site.kept["stopped"] = family(site.kiosk.process.pid)
    for pid in site.kept["stopped"]:
        os.kill(pid, signal.SIGSTOP)


def step_clock(site):
    site.kiosk.shim(utc_s=site.rng.choice(JUMPS_S))


def steps_of_the_clock(site):
    for _ in range(20):
        step_clock(site)


def sleep_8_hours(site):
    """The clocks as after a suspension; what the devices deliver has no hole."""
    site.kiosk.shim(slept_s=site.kiosk.shimmed["slept_s"] + HOURS_8)


def hook(mode):
    return lambda site: site.kiosk.hook_mode.write_text(mode)


def good_hook(site):
    site.kiosk.hook_mode.write_text("ok")


def feed(shape):
    return lambda site: misbehave(site.kiosk.connect, shape, site.rng)


def two_applications(site):
    """Both want the same track, one of them with garbage."""
    threads = [
        threading.Thread(target=misbehave, args=(site.kiosk.connect, shape, site.rng))
        for shape in site.rng.sample(list(SHAPES), k=2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def flood(requests):
    """Twenty clients that ask without end, and take no answer."""

    def inject(site):
        clients = site.kept.setdefault("clients", [])
        for _ in range(20):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.settimeout(0.5)
            clients.append(client)
            with contextlib.suppress(OSError):
                client.connect(str(site.kiosk._socket))
                client.sendall(requests(site.rng))

    return inject


def hang_up(site):
    for client in site.kept.pop("clients", ()):
        client.close()


def garbage(rng):
    return b"".join(rng.randbytes(rng.randrange(1, 3000)) + b"\n" for _ in range(50))


def questions(_rng):
    return b'{"id": 1, "command": "status", "args": {}}\n' * 150


def huge(rng):
    return b'{"id": "' + b"x" * rng.randrange(60_000, 200_000)


def deep(_rng):
    return b"[" * 60_000 + b"\n" + b'{"id": 1, "command": "mark", "args": {"track": []}}\n'


def half(_rng):
    return b'{"id": 1, "command": "subscribe", "args": {}}\n{"id": 2, "comm'


def break_config(site):
    site.kiosk.file.write_text(site.rng.choice(["", "tracks: [", "recording: {sample_rate: x}\n"]))
    site.kiosk.process.send_signal(signal.SIGHUP)


def right_config(site):
    site.kiosk.write_config()
    site.kiosk.process.send_signal(signal.SIGHUP)


def requests_at_once(site):
    """Pauses, rotations and marks, all within a moment; no `stop`, which is no fault."""
    with site.kiosk.connect() as connection:
        for _ in range(20):
            command = site.rng.choice(["rotate", "status", "start", "reload"])
            line = json.dumps({"id": 1, "command": command, "args": {}}).encode()
            connection.send(line + b"\n")


SUSPENDED = {"restarts": True}
FAULTS = (
    fault("a kill", killed(signal.SIGKILL), restarts=True),
    fault("a stop", killed(signal.SIGTERM), restarts=True),
    fault("a killed capture process", kill_child, may_lose=GAPS),
    fault("a stopped capture process", stop_child, continue_child, may_lose=GAPS, told="device"),
    fault("all processes stand still", stop_all, continue_child, may_lose=GAPS | {"missing"}),
    fault("a step of the wall clock", step_clock),
    fault("twenty steps of the wall clock", steps_of_the_clock),
    fault("8 hours asleep", sleep_8_hours, **SUSPENDED),
    fault("a hook that fails", hook("fail"), good_hook, told="hooks"),
    fault("a hook that hangs and ignores SIGTERM", hook("hang"), good_hook),
    fault("a hook that forks", hook("fork"), good_hook),
    fault("a hook that prints without end", hook("print"), good_hook, told="hooks"),
    *(fault(f"a feed: {shape}", feed(shape)) for shape in SHAPES),
    fault("a feed: two applications at once", two_applications),
    fault("a flood: garbage", flood(garbage), hang_up),
    fault("a flood: questions", flood(questions), hang_up),
    fault("a flood: huge requests", flood(huge), hang_up),
    fault("a flood: deep requests", flood(deep), hang_up),
    fault("a flood: half requests", flood(half), hang_up),
    fault("a flood: commands", requests_at_once),
    fault("a broken configuration", break_config, right_config, told="config"),
)

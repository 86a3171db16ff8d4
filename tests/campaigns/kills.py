"""Kills of a recording at random moments: what is lost, and that all else is whole."""

import random
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.rigs.cut_recording import SIMULATED, Service, count, outcome, settings_of
from tests.rigs.sound_server import SoundServer

BOUND_S = 1.5
DEVICES = {"user": "pulse:kiosk_mic", "bot": "pulse:kiosk_speaker.monitor"}


def kill_once(number, folder, seed, tracks):
    """Record, kill, recover; the recording's settings change with the number."""
    rng = random.Random(f"{seed} {number}")
    service = Service(folder, folder / "root", tracks=tracks, **settings_of(number))
    service.wait_for_a_random_moment(rng)
    killed_ns = service.kill()
    return outcome(service, killed_ns, next_boot=False)


def kills(count, *, seed, jobs, tracks=SIMULATED):
    """Yield the outcome of each of `count` kills, `jobs` recordings at a time."""

    def once(number):
        with tempfile.TemporaryDirectory() as folder:
            return kill_once(number, Path(folder), seed, tracks)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(once, range(count))


def live_kills(count, *, seed, jobs, is_pipewire=False):
    """Yield the same of recordings from devices of a sound server, which outlives all of them."""
    with tempfile.TemporaryDirectory() as folder:
        server = SoundServer(Path(folder), is_pipewire=is_pipewire)
        env = {"PULSE_SERVER": server.env["PULSE_SERVER"]}
        tracks = {track: {"device": device, "env": env} for track, device in DEVICES.items()}
        try:
            yield from kills(count, seed=seed, jobs=jobs, tracks=tracks)
        finally:
            server.close()


def options(parser):
    parser.add_argument("--number", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--jobs", type=int, default=4, help="recordings at a time (default: 4)")
    parser.add_argument("--live", action="store_true", help="devices of a sound server")
    parser.add_argument("--pipewire", action="store_true", help="which is not PulseAudio")
    parser.add_argument("--seed", default="campaign", help="of the moments")


def run(args):
    if args.live:
        outcomes = live_kills(
            args.number, seed=args.seed, jobs=args.jobs, is_pipewire=args.pipewire
        )
    else:
        outcomes = kills(args.number, seed=args.seed, jobs=args.jobs)
    return count(outcomes, args.number, BOUND_S)

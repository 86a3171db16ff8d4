"""Kill a recording at a random moment: what is lost, and is everything else whole?"""

import random
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.reliability.harness import FORMATS, Service, outcome

BOUND_S = 1.5


def kill_once(number, folder, seed):
    """Record, kill, recover; the format changes with the number."""
    rng = random.Random(f"{seed} {number}")
    service = Service(folder, folder / "root", format=FORMATS[number % len(FORMATS)])
    service.wait_for_a_random_moment(rng)
    killed_ns = service.kill()
    return outcome(service, killed_ns, BOUND_S, next_boot=False)


def kills(count, *, seed, jobs):
    """Yield the outcome of each of `count` kills, `jobs` recordings at a time."""

    def once(number):
        with tempfile.TemporaryDirectory() as folder:
            return kill_once(number, Path(folder), seed)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(once, range(count))

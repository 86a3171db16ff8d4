"""The long proofs as commands: `scripts/campaign kills --number 1000`."""

import argparse
import sys
import time
from functools import partial

from tests.campaigns import day, days, hours, stops
from tests.campaigns import kills as kills_campaign
from tests.campaigns import power_cuts as power_cuts_campaign
from tests.campaigns.cost import written_per_audio_byte
from tests.campaigns.kills import kills, live_kills
from tests.campaigns.power_cuts import power_cuts
from tests.campaigns.stalls import stall_once
from tests.rigs.cut_recording import FORMATS, tell, why_no_mounts

NUMBERS = {"kills": 1000, "power-cuts": 100, "stops": 1000}
BOUNDS_S = {"kills": kills_campaign.BOUND_S, "power-cuts": power_cuts_campaign.BOUND_S}
NEED_MOUNTS = ("power-cuts", "stalls", "cost")
STALLS_S = (30, 60)
COST_S = 90


def main():
    parser = argparse.ArgumentParser(prog="scripts/campaign", description=__doc__)
    parser.add_argument("what", choices=COMMANDS)
    parser.add_argument("--number", type=int, help=f"how many (default: {NUMBERS})")
    parser.add_argument("--jobs", type=int, default=4, help="recordings at a time, for kills")
    parser.add_argument("--live", action="store_true", help="kills: devices of a sound server")
    parser.add_argument("--pipewire", action="store_true", help="which is not PulseAudio")
    parser.add_argument("--seed", default="campaign", help="of the moments")
    args = parser.parse_args()
    why_not = why_no_mounts()
    if args.what in NEED_MOUNTS and why_not:
        sys.exit(f"campaign: {why_not}")
    began_s = time.monotonic()
    status = COMMANDS[args.what](args)
    print(f"took {time.monotonic() - began_s:.0f} s")
    return status


def run_cuts(args):
    number = args.number or NUMBERS[args.what]
    if args.what == "kills":
        kill = partial(live_kills, is_pipewire=args.pipewire) if args.live else kills
        results = kill(number, seed=args.seed, jobs=args.jobs)
    else:
        results = power_cuts(number, seed=args.seed)
    outcomes = []
    for one in results:
        outcomes.append(one)
        if sys.stderr.isatty():
            print(f"{len(outcomes)} of {number}", end="\r", file=sys.stderr)
    return 0 if tell(outcomes, BOUNDS_S[args.what]) else 1


def run_stalls(args):
    for seconds in STALLS_S:
        print(f"a stall of {seconds} s cost {stall_once(seconds):.1f} s", flush=True)
    return 0


def run_cost(args):
    for form in FORMATS:
        process, device = written_per_audio_byte(COST_S, form)
        print(f"{form}: {process:.2f} bytes by the process, {device:.2f} on ext4, for one of audio")
    return 0


def run_stops(args):
    stops.run(args.number or NUMBERS["stops"])
    return 0


def run_alone(campaign, args):
    campaign.run()
    return 0


COMMANDS = {
    "kills": run_cuts,
    "power-cuts": run_cuts,
    "stalls": run_stalls,
    "cost": run_cost,
    "stops": run_stops,
    "day": partial(run_alone, day),
    "hours": partial(run_alone, hours),
    "days": partial(run_alone, days),
}

if __name__ == "__main__":
    sys.exit(main())

"""Measures the CPU time and memory of an hour of recording, for edgerec and other recorders.

All of them turn two 48 kHz mono WAV files into 16 kHz stereo WAV files of 30 seconds. Runs are
interleaved, so that a machine that slows down slows them all; the table shows medians. With
`--live` they record two devices of a private sound server instead; with `--turns` it is edgerec
alone, with and without looking for turns.
"""

import argparse
import os
import platform
import shlex
import shutil
from pathlib import Path
from statistics import median

from contenders import CHUNK_S, CONTENDERS, FFMPEG, FLOOR, RATE_HZ
from inputs import Inputs, make_inputs
from live import compare, table
from measure import Cost, RunError, measure
from turns import table_of_turns
from wakeup import wakeup_us

DATA = Path("bench-data")

Results = dict[str, list[Cost] | str]
"""What each contender cost, run by run, or why it is out."""


def main() -> None:
    args = _parser().parse_args()
    if args.live:
        print(f"{_machine()}, {wakeup_us():.0f} us a wake-up", flush=True)
        results = compare(DATA, args.seconds, args.runs, args.block_ms, is_pipewire=args.pipewire)
        print(f"\n{table(results)}")
        return
    if args.turns:
        print(f"{_machine()}\n{args.minutes} min, two tracks of {RATE_HZ} Hz", flush=True)
        print(f"\n{table_of_turns(DATA, args.minutes, args.runs)}")
        return
    inputs = make_inputs(DATA, args.minutes)
    print(f"\n{_machine()}")
    print(f"{args.minutes} min, two tracks, to {RATE_HZ} Hz stereo WAV in {CHUNK_S} s chunks")
    results = _race(inputs, args.runs)
    print(f"\n{_table(results, hours=args.minutes / 60)}")


def _race(inputs: Inputs, runs: int) -> Results:
    results: Results = {contender.name: [] for contender in CONTENDERS}
    for run in range(runs):
        for name, command in CONTENDERS:
            costs = results[name]
            if isinstance(costs, str):
                continue
            out = DATA / "out"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            arguments = command(inputs, out)
            if run == 0:
                print(f"\n{name}: {shlex.join(arguments)}", flush=True)
            try:
                costs.append(measure(arguments, out))
            except RunError as error:
                results[name] = str(error)
    shutil.rmtree(DATA / "out", ignore_errors=True)
    return results


def _table(results: Results, *, hours: float) -> str:
    reference = {contender: _median_cpu_s(results[contender.name]) for contender in (FFMPEG, FLOOR)}
    lines = [
        "| medians | CPU s per audio hour | peak MiB | of ffmpeg | of the floor | s written |",
        "|---|---|---|---|---|---|",
    ]
    for name, costs in results.items():
        if isinstance(costs, str):
            lines.append(f"| {name} | not measured: {costs} | | | | |")
            continue
        cpu_s = median(cost.cpu_s for cost in costs)
        peak_mib = median(cost.peak_mib for cost in costs)
        written_s = median(cost.written_s for cost in costs)
        ratios = [
            f"{cpu_s / reference[contender]:.2f}" if reference[contender] else "?"
            for contender in (FFMPEG, FLOOR)
        ]
        lines.append(
            f"| {name} | {cpu_s / hours:.2f} | {peak_mib:.0f} | {' | '.join(ratios)} "
            f"| {written_s:.3f} |"
        )
    return "\n".join(lines)


def _median_cpu_s(costs: list[Cost] | str) -> float | None:
    return None if isinstance(costs, str) else median(cost.cpu_s for cost in costs)


def _machine() -> str:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    load = os.getloadavg()[0]
    return (
        f"{cpu}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {load:.1f}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--minutes", type=int, default=60, help="of audio (default 60)")
    parser.add_argument("--runs", type=int, default=3, help="of each contender (default 3)")
    parser.add_argument(
        "--live", action="store_true", help="record two live devices instead, against ffmpeg"
    )
    parser.add_argument("--pipewire", action="store_true", help="the server of --live is PipeWire")
    parser.add_argument(
        "--turns", action="store_true", help="what looking for turns adds, by share of speech"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="a run of --live (default 60)")
    parser.add_argument("--block-ms", type=float, help="of edgerec's devices, in --live")
    return parser


if __name__ == "__main__":
    main()

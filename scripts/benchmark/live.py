"""Measures the cost of live recording: edgerec and ffmpeg on the same two PortAudio devices.

They record one after the other, several times by turns: at the same time the one that wants short
blocks has the sound server send them to both. All processes of each are counted together: CPU from
/proc/PID/task/TID/schedstat, memory as the proportional set size, wake-ups as voluntary context
switches. The sound server and the players are nobody's.
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from contenders import CHUNK_S, RATE_HZ
from inputs import Inputs, make_inputs

SOUND_SERVER = Path(__file__).parent.parent / "sound-server"
SINKS = ("kiosk_mic_feed", "kiosk_speaker")

EDGEREC, FFMPEG = "edgerec run", "ffmpeg -f pulse"

LEAD_S = 20.0  # both have begun, and edgerec has learnt how fast its devices run
MEMORY_EVERY_S = 10.0  # reading it costs, and holds up the process that it is read of
END_S = 60.0

FFMPEG_GRAPH = (
    f"[0:a]aresample={RATE_HZ}:async=1[user];"
    f"[1:a]pan=mono|c0=.5*c0+.5*c1,aresample={RATE_HZ}:async=1[bot];"
    "[user][bot]join=inputs=2:channel_layout=stereo[both]"
)


class Use(NamedTuple):
    """What all processes of one contender have used since they started."""

    cpu_s: float
    wakeups: int
    processes: int


class LiveCost(NamedTuple):
    """What one recording used in the time measured."""

    cpu_s_per_hour: float
    wakeups_per_s: float
    pss_mib: list[float]
    """Of all its processes together, at even intervals."""
    processes: int


LiveResults = dict[str, list[LiveCost]]
"""By contender, run by run."""


def compare(
    data: Path, seconds: float, runs: int, block_ms: float | None, *, is_pipewire: bool
) -> LiveResults:
    """Record with each by turns for so long; return what each run cost."""
    inputs = make_inputs(data, minutes=int((LEAD_S + seconds + END_S) // 60) + 1)
    results: LiveResults = {EDGEREC: [], FFMPEG: []}
    for run in range(runs):
        for name, costs in results.items():
            out = data / "out"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            command = _ffmpeg(out) if name == FFMPEG else _edgerec(out, block_ms)
            if run == 0:
                print(f"{name}: {shlex.join(command)}", flush=True)
            costs.append(_record(command, inputs, seconds, is_pipewire=is_pipewire))
            _check(name, out, seconds)
            shutil.rmtree(out)
    return results


def table(results: LiveResults) -> str:
    """Return the table of what was measured, with medians of the runs."""
    reference = median(cost.cpu_s_per_hour for cost in results[FFMPEG])
    lines = [
        "| live | CPU s per audio hour | of ffmpeg | least to most "
        "| PSS MiB, median | first to last | processes | wake-ups per s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, costs in results.items():
        cpu_s = [cost.cpu_s_per_hour for cost in costs]
        pss_mib = [mib for cost in costs for mib in cost.pss_mib]
        lines.append(
            f"| {name} | {median(cpu_s):.1f} | {median(cpu_s) / reference:.2f} "
            f"| {min(cpu_s):.1f} to {max(cpu_s):.1f} | {median(pss_mib):.1f} "
            f"| {costs[-1].pss_mib[0]:.1f} to {costs[-1].pss_mib[-1]:.1f} "
            f"| {costs[-1].processes} | {median(cost.wakeups_per_s for cost in costs):.0f} |"
        )
    return "\n".join(lines)


def _record(command: list[str], inputs: Inputs, seconds: float, *, is_pipewire: bool) -> LiveCost:
    with (
        tempfile.TemporaryDirectory() as folder,
        _kiosk(Path(folder), inputs, is_pipewire=is_pipewire) as env,
    ):
        process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        try:
            time.sleep(LEAD_S)
            return _watch(process.pid, seconds)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(END_S)


@contextlib.contextmanager
def _kiosk(folder: Path, inputs: Inputs, *, is_pipewire: bool) -> Iterator[dict[str, str]]:
    """Run a sound server with something to hear; yield the environment that leads to it."""
    kind = ["--pipewire"] if is_pipewire else []
    subprocess.run([SOUND_SERVER, *kind, folder], check=True)
    words = shlex.split((folder / "env").read_text())
    env = os.environ | dict(word.split("=", 1) for word in words if word != "export")
    players = [
        # Without a player a null sink of PulseAudio delivers in lumps of 2 s.
        subprocess.Popen(["paplay", "-d", sink, wav], env=env)
        for sink, wav in zip(SINKS, inputs, strict=True)
    ]
    try:
        time.sleep(2.0)
        yield env
    finally:
        for player in players:
            player.kill()
            player.wait()
        for pid in (folder / "pid").read_text().split():
            with contextlib.suppress(ProcessLookupError):  # some end without the others
                os.kill(int(pid), signal.SIGKILL)


def _watch(pid: int, seconds: float) -> LiveCost:
    before = use_of(pid)
    began = time.monotonic()
    pss_mib = []
    while (left_s := began + seconds - time.monotonic()) > 0:
        time.sleep(min(MEMORY_EVERY_S, left_s))
        pss_mib.append(pss_mib_of(pid))
    elapsed_s = time.monotonic() - began
    after = use_of(pid)
    return LiveCost(
        (after.cpu_s - before.cpu_s) * 3600 / elapsed_s,
        (after.wakeups - before.wakeups) / elapsed_s,
        pss_mib,
        after.processes,
    )


def _edgerec(out: Path, block_ms: float | None) -> list[str]:
    block = "" if block_ms is None else f", block_ms: {block_ms}"
    config = out / "edgerec.yaml"
    config.write_text(
        f"recording: {{sample_rate: {RATE_HZ}, num_channels: 2, chunk_seconds: {CHUNK_S}}}\n"
        f"tracks:\n  user: {{device: 'pulse:kiosk_mic'{block}}}\n"
        f"  bot: {{device: 'pulse:kiosk_speaker.monitor', channels: 2{block}}}\n"
        f"storage: {{root: {out.resolve() / 'root'}}}\n"
        f"control: {{socket: {out.resolve() / 'control.sock'}}}\n"
    )
    return [sys.executable, "-m", "edgerec", "run", "--config", str(config)]


def _ffmpeg(out: Path) -> list[str]:
    read = ["-f", "pulse", "-channels", "1", "-i", "kiosk_mic"]
    read += ["-f", "pulse", "-channels", "2", "-i", "kiosk_speaker.monitor"]
    write = ["-map", "[both]", "-c:a", "pcm_s16le", "-f", "segment", "-segment_time", str(CHUNK_S)]
    program = ["ffmpeg", "-nostdin", "-v", "error"]
    return [*program, *read, "-filter_complex", FFMPEG_GRAPH, *write, str(out / "%06d.wav")]


def _check(name: str, out: Path, seconds: float) -> None:
    """A contender that recorded less has not done the same."""
    written = sum(path.stat().st_size for path in out.rglob("*.wav"))
    if written < (seconds + LEAD_S / 2) * RATE_HZ * 4:
        raise SystemExit(f"bench: {name} wrote {written} bytes only below {out}")


def family(pid: int) -> list[int]:
    """Return a process and all that descend from it."""
    pids = [pid]
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            pids += family(int(child))
    return pids


def use_of(pid: int) -> Use:
    """Return what a process and its descendants have used, those that are alive.

    To the nanosecond: the ticks of /proc/PID/stat are a quarter of what a minute costs.
    """
    used_ns = wakeups = 0
    pids = family(pid)
    for one in pids:
        for thread in Path(f"/proc/{one}/task").iterdir():
            used_ns += int((thread / "schedstat").read_text().split()[0])
            wakeups += _field(thread / "status", "voluntary_ctxt_switches")
    return Use(used_ns / 1e9, wakeups, len(pids))


def pss_mib_of(pid: int) -> float:
    """Return the memory of a process and its descendants; what is shared is counted once."""
    return sum(_field(Path(f"/proc/{one}/smaps_rollup"), "Pss") for one in family(pid)) / 1024


def _field(file: Path, name: str) -> int:
    for line in file.read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    raise LookupError(f"{file} has no {name}")

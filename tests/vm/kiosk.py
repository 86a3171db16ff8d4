"""What `scripts/vm-test` runs inside its machine, as root: an installed kiosk with two real cards.

It installs edgerec as an operator would, plays into both cards, then takes one of them away and
gives it back, again and again, while the other is recorded. It fails, with status 1, unless

- both tracks hold what was played;
- the other track has no gap;
- the gap begins with the last audio before the card went, and ends within `RETURN_S` of its return;
- every gap of the card that went belongs to one of the times it was away;
- no process is left over, the memory limit was never hit, memory and CPU are flat.

Only the standard library: it runs on the machine's own Python.
"""

import json
import math
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import wave
from itertools import pairwise
from pathlib import Path

PAYLOAD = Path("/mnt")
CONFIG = Path("/etc/edgerec/edgerec.yaml")
ROOT = Path("/var/lib/edgerec")
DRIVER = Path("/sys/bus/platform/drivers/snd_aloop")
DEVICE = "snd_aloop.0"  # the card Mic
CGROUP = Path("/sys/fs/cgroup/system.slice/edgerec.service")
RATE_HZ = 48_000

SETTINGS = """\
kiosk_id: vm
recording: {chunk_seconds: 5}
tracks:
  user: {device: "alsa:Mic,1", channels: 2}
  bot: {device: "alsa:Spk,1", channels: 2}
storage: {utc_wait_s: 0}
"""
BLOCKS_S = 0.7  # what a device may hold that is gone with it: five blocks, and two on their way
RETURN_S = 5.0
PATIENCE_S = 240.0  # an emulated processor is slow
DEMO_PATIENCE_S = 900.0
SEED = 20

problems = []


def main(cycles):
    print(f"VM up after {uptime_s():.0f} s, kernel {run('uname', '-rm').strip()}")
    print(run("aplay", "-l").strip())
    CONFIG.parent.mkdir()
    CONFIG.write_text(SETTINGS)
    began = time.monotonic()
    print(run("/mnt/checkout/scripts/install", "--wheels", "/mnt/wheels", timeout=3000))
    print(f"installed in {time.monotonic() - began:.0f} s")
    if platform.machine() == "aarch64":
        demo()
    write_tone(Path("/run/tone.wav"))
    players = [play(card) for card in ("Mic", "Spk")]
    wait_for(lambda: states() == {"user": "running", "bot": "running"}, "both tracks")
    wait_for(both_are_heard, "what was played, in both tracks")
    print("both cards are recorded")
    silence(players[0])
    away, samples = unplug(cycles)
    processes = len(run("ps", "-o", "pid=", "-u", "edgerec").split())
    check(
        processes == 3, f"{processes} processes of the service, and not the service and 2 devices"
    )
    report_resources(samples)
    run("systemctl", "stop", "edgerec")
    silence(players[1])
    check(run("ps", "-o", "pid=", "-u", "edgerec", fails=True) == "", "a process is left")
    judge_gaps(away)
    print(run("edgerec", "verify", str(ROOT / "ready"), fails=True).strip().splitlines()[-1])
    print("\n".join(f"PROBLEM {problem}" for problem in problems) or "no problem")
    return bool(problems)


def demo():
    """The embedded virtual kiosk, in real time: alone, for that is all an emulated one can do."""
    folder = Path("/var/tmp/demo")
    run("systemctl", "stop", "edgerec")
    run("edgerec", "demo", "--seconds", "10", "--out", str(folder), timeout=DEMO_PATIENCE_S)
    run("systemctl", "start", "edgerec")
    files = list(folder.glob("ready/**/*.wav"))
    check(files, "the demo published nothing")
    print(f"demo: {len(files)} files")
    shutil.rmtree(folder)


def unplug(cycles):
    """Take the microphone away so often; return when it was away, and the service's use."""
    rng = random.Random(SEED)
    away, samples = [], []
    for cycle in range(cycles):
        time.sleep(rng.uniform(2, 6))
        gone_ns, back_ns = take_away(rng.uniform(0.5, 6))
        away.append((gone_ns, back_ns))
        samples.append(use())
        print(
            f"cycle {cycle + 1}: away {(back_ns - gone_ns) / 1e9:.2f} s, running again "
            f"{(time.monotonic_ns() - back_ns) / 1e9:.2f} s after its return",
            flush=True,
        )
    return away, samples


def take_away(seconds):
    """Take the microphone away for so long, and wait until it is recorded again."""
    gone_ns = time.monotonic_ns()
    (DRIVER / "unbind").write_text(DEVICE)
    time.sleep(seconds)
    (DRIVER / "bind").write_text(DEVICE)
    back_ns = time.monotonic_ns()
    # A fault that was found and mended between two looks is over, too.
    wait_for(
        lambda: states()["user"] != "running" or time.monotonic_ns() - back_ns > RETURN_S * 1e9,
        "the fault",
    )
    wait_for(lambda: states()["user"] == "running", "the device's return")
    return gone_ns, back_ns


def judge_gaps(away):
    gaps = {"user": [], "bot": []}
    for path in sorted(ROOT.glob("ready/**/*_chunk.json")):
        chunk = json.loads(path.read_text())
        rate = chunk["format"]["sample_rate"]
        check(not chunk["missing_before"], f"{path.name} has lost {chunk['missing_before']} frames")
        for track, found in gaps.items():
            for gap in chunk["tracks"][track]["gaps"]:
                start = gap["start_frame"] - chunk["start_frame"]
                start_ns = chunk["monotonic_ns"] + start * 1e9 / rate
                found.append((start_ns, start_ns + gap["frames"] * 1e9 / rate, gap["reason"]))
    check(not gaps["bot"], f"the other track has gaps: {gaps['bot']}")
    whole = joined(gaps["user"])
    check(len(whole) == len(away), f"{len(whole)} gaps for {len(away)} times away")
    early, late, ends = [], [], []
    for (start_ns, stop_ns), (gone_ns, back_ns) in zip(whole, away, strict=False):
        early.append((gone_ns - start_ns) / 1e9)
        late.append((start_ns - gone_ns) / 1e9)
        ends.append((stop_ns - back_ns) / 1e9)
    if not whole:
        return
    check(max(early) < BLOCKS_S, f"a gap began {max(early):.2f} s before the card went")
    check(max(late) < 0.05, f"a gap began {max(late):.2f} s after the card went")
    check(min(ends) > -0.05, f"a gap ended {-min(ends):.2f} s before the card came back")
    check(max(ends) < RETURN_S, f"a gap ended {max(ends):.2f} s after the card came back")
    print(
        f"gaps: {len(whole)}, beginning {min(early):.3f} to {max(early):.3f} s before the card "
        f"went, ending {min(ends):.2f} to {max(ends):.2f} s after it came back; other track: "
        f"{len(gaps['bot'])} gaps"
    )


def joined(gaps):
    """Put gaps together that adjoin: one loss, for reasons that changed."""
    whole = []
    for start_ns, stop_ns, _reason in gaps:
        if whole and start_ns - whole[-1][1] < 1e6:
            whole[-1] = (whole[-1][0], stop_ns)
        else:
            whole.append((start_ns, stop_ns))
    return whole


def use():
    """Memory of the service now, and CPU seconds since its start, with the time."""
    memory = int((CGROUP / "memory.current").read_text())
    cache = int(re.search(r"^file (\d+)", (CGROUP / "memory.stat").read_text(), re.M)[1])
    usec = int(re.search(r"^usage_usec (\d+)", (CGROUP / "cpu.stat").read_text(), re.M)[1])
    return time.monotonic(), (memory - cache) / 2**20, usec / 1e6


def report_resources(samples):
    peak_file = CGROUP / "memory.peak"
    peak = int(peak_file.read_text()) / 2**20 if peak_file.exists() else math.nan
    limit = int((CGROUP / "memory.max").read_text()) / 2**20
    killed = int(re.search(r"^oom_kill (\d+)", (CGROUP / "memory.events").read_text(), re.M)[1])
    check(killed == 0, f"the memory limit killed {killed} processes")
    memory = [one[1] for one in samples]
    shares = [(b[2] - a[2]) / (b[0] - a[0]) for a, b in pairwise(samples)]
    print(f"memory: limit {limit:.0f} MiB, peak with page cache {peak:.0f} MiB, oom kills {killed}")
    print(
        f"memory without page cache: {memory[0]:.1f} to {memory[-1]:.1f} MiB, max {max(memory):.1f}"
    )
    if len(memory) >= 6:
        third = len(memory) // 3
        grown = sum(memory[-third:]) / third - sum(memory[:third]) / third
        check(grown < 4, f"memory has grown by {grown:.1f} MiB")
    if shares:
        print(f"CPU of one core: {min(shares):.2f} to {max(shares):.2f}")
        check(max(shares) < 1.0, "something spins")  # a spinning child would use a core


def both_are_heard():
    """Whether the last chunk is loud in both tracks."""
    chunks = sorted(ROOT.glob("ready/**/*_chunk.json"))
    if not chunks:
        return False
    tracks = json.loads(chunks[-1].read_text())["tracks"]
    return all((tracks[track]["peak_dbfs"] or -200) > -40 for track in ("user", "bot"))


def states():
    status = json.loads(run("edgerec", "status", "--json", fails=True) or "{}")
    return {name: track["state"] for name, track in status.get("tracks", {}).items()}


def write_tone(path):
    """Ten seconds of a tone, to be played over and over."""
    samples = bytearray()
    for n in range(RATE_HZ * 10):
        value = round(8_000 * math.sin(2 * math.pi * 440 * n / RATE_HZ))
        samples += value.to_bytes(2, "little", signed=True) * 2
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, RATE_HZ, 0, "NONE", ""))
        file.writeframes(samples)


def play(card):
    """Play the tone into a card, over and over, until it is told to end.

    PortAudio looks at every card when a capture child starts, and holds it for a moment.
    """
    command = f"while :; do aplay -q -D plughw:{card},0 /run/tone.wav || sleep 1; done"
    return subprocess.Popen(["/bin/bash", "-c", command], start_new_session=True)


def silence(player):
    os.killpg(player.pid, signal.SIGKILL)
    player.wait()


def check(holds, problem):
    if not holds:
        problems.append(problem)


def wait_for(is_so, what):
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            print(run("journalctl", "-u", "edgerec", "-n", "40", "--no-pager", "-o", "cat"))
            sys.exit(f"PROBLEM waited in vain for {what}")
        time.sleep(0.2)


def run(*command, fails=False, timeout=PATIENCE_S):
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout
    )
    if done.returncode and not fails:
        subprocess.run(["journalctl", "-u", "edgerec", "-n", "40", "--no-pager", "-o", "cat"])
        sys.exit(f"PROBLEM {' '.join(command)}: status {done.returncode}\n{done.stdout}")
    return done.stdout


def uptime_s():
    return float(Path("/proc/uptime").read_text().split()[0])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

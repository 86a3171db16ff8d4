"""What `scripts/vm-test` runs inside its machine, as root: a kiosk with two real cards, in 2 boots.

The first installs edgerec as an operator would, records the demo, and is cut off while it records.
In the second one a signal that tells its time is played into both cards, and one of them is taken
away and given back, again and again, while the other is recorded. It fails, with status 1, unless

- it records from the boot on, and all files are as they are described;
- the other track has no gap, and its signal no hole;
- in both tracks everything stands where it was played, so each gap is as long as it should be;
- the gap begins with the last audio before the card went, and ends within `RETURN_S` of its return;
- no process or file is left over, the memory limit was never hit, memory and CPU are flat;
- a card that another program holds is recorded within `RETURN_S` of its being let go;
- a hung process is killed by the watchdog, and what it recorded is recovered;
- a configuration that is refused stops it with status 78;
- both cards stand where they were played, from the first second on; see `tests.vm.placing`.

Only the standard library: it runs on the machine's own Python.
"""

import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.vm import placing
from tests.vm.machine import (
    CONFIG,
    RATHER_LONG_S,
    ROOT,
    Use,
    boot_id,
    check,
    is_emulated,
    problems,
    processes,
    property_of,
    run,
    status,
    uptime_s,
    wait_for,
)
from tests.vm.ramp import Player
from tests.vm.recording import read_recording

DRIVER = Path("/sys/bus/platform/drivers/snd_aloop")
DEVICE = "snd_aloop.0"  # the card Mic
CARDS = {"user": "Mic", "bot": "Spk"}

SETTINGS = """\
kiosk_id: vm
recording: {chunk_seconds: 5}
tracks:
  user: {device: "alsa:Mic,1", channels: 2}
  bot: {device: "alsa:Spk,1", channels: 2}
storage: {utc_wait_s: 0}
"""
REFUSED = "kiosk_id: vm\nrecording: {chunk_secs: 5}\n"
BAD_CONFIGURATION = 78
BLOCKS_S = 0.7  # what a device may hold that is gone with it: five blocks, and two on their way
PLACED_S = 0.05
RETURN_S = 5.0
LOST_S = 1.0 + 0.8 + 0.25  # sync_seconds, late_seconds, and a tick of the recorder
SEED = 20
STARTS = 5


def main(cycles):
    print(f"VM up after {uptime_s():.0f} s, kernel {run('uname', '-rm').strip()}")
    if CONFIG.exists():
        record(cycles)
    else:
        install()
    print("\n".join(f"PROBLEM {problem}" for problem in problems) or "no problem", flush=True)
    return bool(problems)


# The first boot


def install():
    CONFIG.parent.mkdir()
    CONFIG.write_text(SETTINGS)
    began = time.monotonic()
    print(run("/mnt/checkout/scripts/install", "--wheels", "/mnt/wheels", within_s=RATHER_LONG_S))
    print(f"installed in {time.monotonic() - began:.0f} s")
    if platform.machine() == "aarch64":  # a container has it tried on x86
        demo()
    wait_for(chunks, "a chunk of silence")


def demo():
    """The embedded virtual kiosk, in real time: alone, for that is all an emulated one can do."""
    folder = Path("/var/tmp/demo")
    run("systemctl", "stop", "edgerec")
    began = time.monotonic()
    print(run("edgerec", "demo", "--seconds", "10", "--out", str(folder), within_s=RATHER_LONG_S))
    print(f"demo: {time.monotonic() - began:.0f} s")
    run("edgerec", "verify", str(folder))
    shutil.rmtree(folder)
    run("systemctl", "start", "edgerec")


# The second boot


def record(cycles):
    print(run("aplay", "-l").strip())
    wait_for(lambda: states() == {"user": "running", "bot": "running"}, "both tracks")
    print(f"both cards are recorded {uptime_s():.0f} s after the boot, of nobody's doing")
    players = {track: Player(card) for track, card in CARDS.items()}
    try:
        wait_for(lambda: all(player.runs_ns for player in players.values()), "the players")
        since_ns = time.monotonic_ns()
        away, uses = unplug(cycles)
        found = processes()
        check(len(found) == 3, f"not the service and 2 devices, but {found}")
        judge_use(uses)
        run("systemctl", "stop", "edgerec")
        check(not processes(), f"left behind: {processes()}")
    finally:
        for player in players.values():
            player.close()
    underruns = sum(player.underruns for player in players.values())
    check(not underruns, f"the players were late {underruns} times, so nothing is known")
    runs_ns = {track: player.runs_ns for track, player in players.items()}
    judge_tracks(*read_recording(ROOT, since_ns, runs_ns), away)
    hold()
    hang()
    misconfigure()
    placing.measure(STARTS)
    print(run("edgerec", "verify", str(ROOT / "ready")).strip().splitlines()[-1])


def unplug(cycles):
    """Take the microphone away so often; return when it was away, and the service's use."""
    rng = random.Random(SEED)
    away, uses = [], []
    for cycle in range(cycles):
        before = Use.now()
        time.sleep(rng.uniform(2, 6))
        uses.append((before, Use.now()))
        gone_ns, back_ns = take_away(rng.uniform(0.5, 6))
        away.append((gone_ns, back_ns))
        print(
            f"cycle {cycle + 1}: away {(back_ns - gone_ns) / 1e9:.2f} s, running again "
            f"{(time.monotonic_ns() - back_ns) / 1e9:.2f} s after its return",
            flush=True,
        )
    time.sleep(rng.uniform(2, 6))
    return away, uses


def take_away(seconds):
    """Take the microphone away for so long, and wait until it is recorded again."""
    restarts = status()["tracks"]["user"]["restarts"]
    gone_ns = time.monotonic_ns()
    (DRIVER / "unbind").write_text(DEVICE)
    time.sleep(seconds)
    back_ns = time.monotonic_ns()
    (DRIVER / "bind").write_text(DEVICE)

    def is_back():
        track = status()["tracks"]["user"]
        return track["restarts"] > restarts and track["state"] == "running"

    wait_for(is_back, "the device's return")
    return gone_ns, back_ns


def judge_tracks(tracks, lost, away):
    user, bot = tracks["user"], tracks["bot"]
    check(not lost, f"{lost} frames are lost")
    check(not bot.gaps, f"the other track has gaps: {bot.gaps}")
    check(not bot.holes_s(), f"the other track has holes: {bot.holes_s()}")
    for name, track in tracks.items():
        late_s = [late_s for _, late_s in track.placed]
        print(f"{name}: {min(late_s) * 1000:.1f} to {max(late_s) * 1000:.1f} ms late everywhere")
        check(max(map(abs, late_s)) <= PLACED_S, f"{name} is not where it was played")
    check(len(user.gaps) == len(away), f"{len(user.gaps)} gaps for {len(away)} times away")
    early, ends, wrong = [], [], []
    for gap, (gone_ns, back_ns) in zip(user.gaps, away, strict=False):
        early.append((gone_ns - gap[0]) / 1e9)
        ends.append((gap[1] - back_ns) / 1e9)
        before_s, after_s = user.around(gap)
        wrong.append(after_s - before_s)
    print(
        f"{len(user.gaps)} gaps: they begin {min(early):.3f} to {max(early):.3f} s before the card "
        f"went, end {min(ends):.2f} to {max(ends):.2f} s after it came back, and are "
        f"{max(map(abs, wrong)) * 1000:.1f} ms too long or short at most; other track: "
        f"{len(bot.gaps)} gaps"
    )
    return_s = RETURN_S + slow_start_s()
    check(max(early) < BLOCKS_S, f"a gap began {max(early):.2f} s before the card went")
    check(min(early) > -PLACED_S, f"a gap began {-min(early):.2f} s after the card went")
    check(min(ends) > -PLACED_S, f"a gap ended {-min(ends):.2f} s before the card came back")
    check(max(ends) < return_s, f"a gap ended {max(ends):.2f} s after, not {return_s:.1f}")
    check(max(map(abs, wrong)) <= PLACED_S, f"a gap's length is wrong: {wrong}")


def slow_start_s():
    """Return what an emulated ARM processor needs longer for the start of a capture child.

    Twice, for the child that was started just before the card came is waited for.
    """
    if not (platform.machine() == "aarch64" and is_emulated()):
        return 0.0
    began = time.monotonic()
    run("/opt/edgerec/bin/python", "-m", "edgerec.capture.portaudio", "--track=user", "--device=no",
        fails=True)  # fmt: skip
    took_s = time.monotonic() - began
    print(f"a capture child starts in {took_s:.1f} s")
    return 2 * took_s


def judge_use(uses):
    """Of the service between the times away, when all is well."""
    memory = [after.memory_mib for _, after in uses]
    shares = [(b.cpu_s - a.cpu_s) / (b.at_s - a.at_s) for a, b in uses]
    files = [after.files for _, after in uses]
    peak_mib, limit_mib, kills = Use.limit()
    print(f"memory: limit {limit_mib:.0f} MiB, peak with page cache {peak_mib:.0f}, kills {kills}")
    check(kills == 0, f"the memory limit killed {kills} processes")
    print(f"without page cache: {memory[0]:.1f} to {memory[-1]:.1f} MiB, max {max(memory):.1f}")
    print(f"open files: {files[0]} to {files[-1]}")
    check(files[0] == files[-1], f"open files were {files}")
    print(f"CPU of one core: {shares[0]:.3f} to {shares[-1]:.3f}, max {max(shares):.3f}")
    check(max(shares) < 1.0, "something spins")  # a spinning child would use a core
    third = len(uses) // 3
    if third < 2:
        return
    # In the first third buffers are filled for the first time. The least that a cycle can leave
    # behind afterwards is a pipe of 1 MiB.
    grown = mean(memory[-third:]) - mean(memory[third:-third])
    check(grown < 0.5 * third, f"memory has grown by {grown:.1f} MiB")
    # One that reads what another left behind reads twice as much.
    check(mean(shares[-third:]) < 1.5 * mean(shares[:third]), f"CPU has grown: {shares}")


def mean(values):
    return sum(values) / len(values)


def hold():
    """Have another program at the microphone when the service starts, and let go of it later."""
    command = ["arecord", "-q", "-D", f"hw:{CARDS['user']},1", "-f", "S16_LE", "-r", "48000"]
    holder = subprocess.Popen([*command, "-c", "2", "/dev/null"])
    try:
        run("systemctl", "start", "edgerec")
        wait_for(lambda: states() == {"user": "absent", "bot": "running"}, "the other card")
        time.sleep(5)  # more than a pause between two attempts
        told = status()["tracks"]["user"]["detail"]
        check("is busy" in told and f"process {holder.pid} " in told, f"a busy card: {told}")
    finally:
        holder.kill()
        holder.wait()
    freed_s = time.monotonic()
    wait_for(lambda: states() == {"user": "running", "bot": "running"}, "the card let go of")
    took_s = time.monotonic() - freed_s
    print(f"a busy card is recorded {took_s:.2f} s after it was let go of")
    check(took_s < RETURN_S + slow_start_s(), f"a free card was recorded {took_s:.2f} s later")
    run("systemctl", "stop", "edgerec")


def hang():
    """Stop the process for the watchdog to find: it is killed, and its files are recovered."""
    run("systemctl", "start", "edgerec")
    wait_for(lambda: states() == {"user": "running", "bot": "running"}, "both tracks")
    before = len(chunks())
    wait_for(lambda: len(chunks()) > before, "a chunk")
    time.sleep(2.5)  # half of the next one
    pid = int(property_of("MainPID"))
    os.kill(pid, signal.SIGSTOP)
    hung_s = time.monotonic()
    wait_for(lambda: property_of("NRestarts") == "1", "the watchdog")
    print(f"the watchdog has ended a hung process after {time.monotonic() - hung_s:.0f} s")
    wait_for(lambda: states() == {"user": "running", "bot": "running"}, "both tracks again")
    wait_for(recovered, "what it had recorded")
    lost_s = hung_s - max(chunk["monotonic_ns"] / 1e9 + duration_s(chunk) for chunk in recovered())
    print(f"recovered up to {lost_s:.2f} s before it hung")
    check(lost_s < LOST_S, f"the last {lost_s:.2f} s before it hung are not published")


def recovered():
    """Return the chunks of this boot that were put together after a crash."""
    found = (json.loads(path.read_text()) for path in chunks())
    return [chunk for chunk in found if chunk["recovered"] and chunk["boot_id"] == boot_id()]


def misconfigure():
    CONFIG.write_text(REFUSED)
    run("systemctl", "restart", "edgerec", fails=True)
    restarts = property_of("NRestarts")
    time.sleep(5)  # more than RestartSec
    code = int(property_of("ExecMainStatus"))
    print(f"a bad configuration: status {code}, {property_of('ActiveState')}")
    check(code == BAD_CONFIGURATION, f"a bad configuration ended with {code}")
    check(property_of("ActiveState") == "failed", "a bad configuration is tried again")
    check(property_of("NRestarts") == restarts, "a bad configuration was tried again")
    CONFIG.write_text(SETTINGS)


def states():
    return {name: track["state"] for name, track in status().get("tracks", {}).items()}


def chunks():
    return sorted(ROOT.glob("ready/**/*_chunk.json"))


def duration_s(chunk):
    return chunk["frames"] / chunk["format"]["sample_rate"]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))

"""Measures what detecting turns adds to the cost of recording, for a given share of speech.

Run as a program, it makes the conversation: labelled speech of both, the bot's echo at -12 dB in
the microphone, in rooms that change every four minutes.
"""

import shutil
import subprocess
import sys
import wave
from pathlib import Path
from statistics import median

from measure import Cost, measure

ROOT = Path(__file__).parent.parent.parent
SHARES = (0.1, 0.3, 0.6)
SEED = 3
DETECTORS = {
    "off": "enable_turn_audio: false}",
    "earshot": "enable_turn_audio: true}\nturns: {detector: {user: earshot}}",
    "silero": "enable_turn_audio: true}\nturns: {detector: {user: silero}}",
}


def table_of_turns(folder: Path, minutes: int, runs: int) -> str:
    """Return CPU seconds per audio hour and peak memory, without turns and by detector.

    Raises
    ------
    RunError
        edgerec did not do its work.
    """
    lines = [
        "| speech | turns | CPU s per audio hour | more than without | peak MiB |",
        "|---|---|---|---|---|",
    ]
    for share in SHARES:
        inputs = _conversation(folder, minutes, share)
        costs: dict[str, list[Cost]] = {name: [] for name in DETECTORS}
        for _ in range(runs):
            for name, settings in DETECTORS.items():
                costs[name].append(_replay(folder, inputs, settings))
        without = median(cost.cpu_s for cost in costs["off"])
        for name, all_runs in costs.items():
            cpu_s = median(cost.cpu_s for cost in all_runs)
            peak_mib = median(cost.peak_mib for cost in all_runs)
            lines.append(
                f"| {share:.0%} | {name} | {cpu_s * 60 / minutes:.1f} "
                f"| {(cpu_s - without) * 60 / minutes:.1f} | {peak_mib:.0f} |"
            )
    return "\n".join(lines)


def _replay(folder: Path, inputs: tuple[Path, Path], settings: str) -> Cost:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    config = folder / "turns.yaml"
    config.write_text(f"recording: {{chunk_seconds: 30, {settings}\n")
    program = [sys.executable, "-m", "edgerec", "replay", "--config", str(config)]
    user, bot = map(str, inputs)
    try:
        return measure([*program, "--user", user, "--bot", bot, "--out", str(out)], out)
    finally:
        shutil.rmtree(out)


def _conversation(folder: Path, minutes: int, share: float) -> tuple[Path, Path]:
    stem = f"{minutes}min-{share:.0%}-seed{SEED}.wav"
    user, bot = (folder.resolve() / f"{track}-{stem}" for track in ("user", "bot"))
    if not (user.exists() and bot.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        # A process of its own: see inputs.make_inputs.
        arguments = [str(user), str(bot), str(share), str(minutes)]
        subprocess.run([sys.executable, __file__, *arguments], check=True)
    return user, bot


def _record(user: Path, bot: Path, share: float, minutes: int) -> None:
    sys.path.insert(0, str(ROOT))
    from tests.turns.material import RATE_HZ, Speech
    from tests.turns.measure import CLIPS
    from tests.turns.mixtures import conversing

    partial = user.with_suffix(".partial"), bot.with_suffix(".partial")
    with wave.open(str(partial[0]), "wb") as heard, wave.open(str(partial[1]), "wb") as played:
        for file in (heard, played):
            file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
        for scene in conversing(Speech(CLIPS), share, minutes, SEED):
            for file, pcm in zip((heard, played), scene.pcm, strict=True):
                file.writeframesraw(pcm.tobytes())
    for unfinished, path in zip(partial, (user, bot), strict=True):
        unfinished.rename(path)


if __name__ == "__main__":
    _record(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))

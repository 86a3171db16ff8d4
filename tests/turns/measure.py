"""How well turns are detected: mixtures of real speech, noise and echo, against their own truth.

`scripts/measure-turns` runs it all and prints the tables of `docs/turns.md`; `test_accuracy.py`
holds a sample of it to bounds.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edgerec.audio import Span, TimelineFrame
from edgerec.config import Config
from edgerec.turns.detectors import Detectors, UserDetectorName
from edgerec.turns.segmenter import Segmenter, TurnRules
from tests.turns.material import NOISES, RATE_HZ, Speech
from tests.turns.mixtures import Scene, echoing, noisy, only
from tests.turns.recordings import use_recordings
from tests.turns.scoring import Interval, Score

FIRST_S = 60.0  # of every room, which the bounds on echo leave out
BLOCK = RATE_HZ // 10
CLIPS = Path(__file__).parent / "clips"


def turn_rules(rate: int) -> TurnRules:
    """Return the configuration's defaults, in frames."""
    turns = Config().turns
    return TurnRules(
        pre_roll=round(turns.pre_roll_s * rate),
        hangover=round(turns.hangover_s * rate),
        min_speech=round(turns.min_speech_s * rate),
        max_turn=round(turns.max_turn_s * rate),
    )


@dataclass
class Result:
    """What came of the scenes of one condition."""

    score: Score = field(default_factory=Score)
    cpu_s: float = 0.0
    hours: float = 0.0
    delay_error_ms: list[float] = field(default_factory=list)
    return_error_db: list[float] = field(default_factory=list)

    @property
    def cpu_s_per_hour(self) -> float:
        """CPU seconds of detection alone, per hour of both tracks."""
        return self.cpu_s / self.hours


def detect(scene: Scene, detectors: Detectors) -> dict[str, list[Interval]]:
    """Return the turns of each speaker in a scene, from first to last speech, in seconds."""
    numbers = itertools.count()
    segmenters = {
        track: Segmenter(track, turn_rules(RATE_HZ), lambda: next(numbers))
        for track in ("user", "bot")
    }
    turns: dict[str, dict[int, Interval]] = {"user": {}, "bot": {}}
    spans: Iterator[Span | None] = itertools.chain(_spans(scene), [None])
    for span in spans:
        for judged in detectors.push(span) if span else detectors.flush():
            for part in segmenters[judged.track].push(judged):
                begun = turns[part.speaker].get(part.number, (part.speech_start / RATE_HZ, 0.0))
                turns[part.speaker][part.number] = (begun[0], part.speech_end / RATE_HZ)
    return {speaker: list(found.values()) for speaker, found in turns.items()}


def _spans(scene: Scene) -> Iterator[Span]:
    for start in range(0, scene.pcm.shape[1], BLOCK):
        pcm = scene.pcm[:, start : start + BLOCK]
        yield Span(TimelineFrame(start), pcm, np.zeros(pcm.shape, np.uint8))


def measure(scenes: Iterable[Scene], detector: UserDetectorName) -> Result:
    """Detect and score the user's turns; each scene begins with a detector that knows nothing."""
    result = Result()
    for scene in scenes:
        detectors = Detectors(RATE_HZ, detector)
        before = time.process_time()
        found = detect(scene, detectors)["user"]
        result.cpu_s += time.process_time() - before
        result.hours += scene.seconds / 3600
        if scene.room is None:
            result.score.add(scene.user, found, scene.seconds / 3600)
            continue
        late = [turn for turn in found if turn[1] > FIRST_S]
        said = sum(max(0.0, turn.stop - max(FIRST_S, turn.start)) for turn in scene.bot)
        result.score.add(scene.user, late, said / 3600)
        echo = detectors.echo
        if echo.delay_ms is not None and echo.return_db is not None:
            result.delay_error_ms.append(abs(echo.delay_ms - scene.room.delay_s * 1e3))
            result.return_error_db.append(abs(echo.return_db - scene.room.return_db))
    return result


def conditions(
    speech: Speech, turns: int, hours: float
) -> dict[str, Callable[[], Iterator[Scene]]]:
    """Return what is measured, by name; seeds are fixed."""
    made: dict[str, Callable[[], Iterator[Scene]]] = {}
    for seed, noise in enumerate(NOISES):
        made[f"turns in {noise}"] = lambda n=noise, s=seed: noisy(speech, n, turns, 10 + s)
    for seed, noise in enumerate(NOISES):
        made[f"nobody, {noise}"] = lambda n=noise, s=seed: only(n, hours, 20 + s)
    for seed, db in enumerate((-6.0, -12.0, -20.0)):
        made[f"echo {db:.0f} dB, nobody"] = lambda d=db, s=seed: echoing(
            speech, d, 0.45 * hours, 30 + s, barge_ins=False
        )
    for seed, db in enumerate((-6.0, -12.0, -20.0)):
        made[f"echo {db:.0f} dB, barge-ins"] = lambda d=db, s=seed: echoing(
            speech, d, turns / 3 / 160, 40 + s, barge_ins=True
        )
    return made


def main() -> None:
    """Print a line for every condition."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path, default=CLIPS, help="labelled clips: NN.wav, NN.scv")
    parser.add_argument(
        "--detector", choices=["auto", "level", "earshot", "silero"], default="auto"
    )
    parser.add_argument("--turns", type=int, default=200, help="spoken in every noise")
    parser.add_argument("--hours", type=float, default=3.0, help="of each noise, and of the bot")
    parser.add_argument("--only", default="", help="conditions whose name contains this")
    parser.add_argument("--recorded", type=Path, help="music and clatter from this folder's files")
    args = parser.parse_args()
    if args.recorded:
        use_recordings(args.recorded)
    print("| condition | turns found | files | false per hour | start p90 | end p90 | CPU s/h |")
    print("|---|---|---|---|---|---|---|")
    for name, scenes in conditions(Speech(args.speech), args.turns, args.hours).items():
        if args.only in name:
            print(_row(name, measure(scenes(), args.detector)), flush=True)


def _row(name: str, result: Result) -> str:
    score = result.score
    found, files, places = "", "", " | "
    if score.spoken:
        found = f"{score.found} of {score.spoken}, {100 * score.recall:.1f} %"
        files = str(score.files)
        places = f"{score.start_p90_ms():.0f} ms | {score.end_p90_ms():.0f} ms"
    false = f"{score.false_per_hour:.1f} ({score.false} in {score.hours:.1f} h)"
    return f"| {name} | {found} | {files} | {false} | {places} | {result.cpu_s_per_hour:.1f} |"


if __name__ == "__main__":
    main()

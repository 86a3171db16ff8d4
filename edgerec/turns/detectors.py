"""Runs one speech detector per track and reports its decisions in timeline frames.

For one thread. Fixed memory: a batch of frames, what the resampler holds, and the detectors.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from edgerec.audio import TRACKS, EchoReport, Span, TimelineFrame, TrackName
from edgerec.turns.bands import FRAME, RATE_HZ, BandMeter, NoiseFloor, Samples
from edgerec.turns.earshot import Earshot
from edgerec.turns.segmenter import Judged
from edgerec.turns.silero import Silero, is_installed
from edgerec.turns.user import AnyLoudness, SpeechClassifier, UserDetector

UserDetectorName = Literal["auto", "level", "earshot", "silero"]

BATCH: Final = 5
"""Frames taken at once, 0.16 s: with `user.LOOKBACK` and the resampler under half a second."""


_OVER: Final = np.float32(10 ** (12 / 10))
_LOWEST: Final = np.float32(10 ** (-60 / 10))
"""A loopback that hums at less than -60 dBFS is heard by nobody."""


class DetectorError(Exception):
    """A detector is not available on this machine."""


class BotDetector:
    """Level over a tracked floor, frame by frame: the loopback is clean."""

    def __init__(self) -> None:
        self._meter = BandMeter()
        self._floor = NoiseFloor(1, ignore_silence=False)

    def push(self, samples: Samples) -> list[bool]:
        """Take in frames; return for each whether it is speech."""
        powers = self._meter.measure(samples).sum(axis=1, keepdims=True)
        threshold = np.maximum(self._floor.follow(powers) * _OVER, _LOWEST)
        return [bool(loud) for loud in powers[:, 0] > threshold]


class Detectors:
    """Tells speech from everything else on both tracks: a `VoiceActivity`.

    Parameters
    ----------
    sample_rate
        Sampling rate of the timeline, in Hz.
    user
        `auto`: silero if it is installed, else earshot.

    Raises
    ------
    DetectorError
        The requested detector is not installed.
    """

    def __init__(self, sample_rate: int, user: UserDetectorName = "auto") -> None:
        self._rate = sample_rate
        self._user = UserDetector(_classifier(user))
        self._bot = BotDetector()
        self._position = TimelineFrame(0)  # after what was pushed
        self._judged: dict[TrackName, TimelineFrame] = dict.fromkeys(TRACKS, TimelineFrame(0))
        self._restart(TimelineFrame(0))

    @property
    def echo(self) -> EchoReport:
        """The current estimate of the bot's echo in the microphone."""
        return self._user.echo

    def push(self, span: Span) -> list[Judged]:
        """Take in the next frames; return what is decided now."""
        self._position = TimelineFrame(span.start + span.frames)
        samples = span.pcm.T.astype(np.float32) / np.float32(32_768)
        return self._take(self._resample(samples, last=False))

    def skip_to(self, frame: TimelineFrame) -> list[Judged]:
        """Skip the frames before `frame`: they are gone, and count as not speech."""
        judged = self.flush()
        self._position = frame
        judged += self._fill(frame)
        self._restart(frame)
        return judged

    def flush(self) -> list[Judged]:
        """Return what is still undecided: nothing follows."""
        judged = self._take(self._resample(np.zeros((0, len(TRACKS)), np.float32), last=True))
        rest = -len(self._waiting) % (FRAME * BATCH)
        if len(self._waiting):
            padding = np.zeros((rest, len(TRACKS)), np.float32)
            judged += self._take(padding)
        judged += self._judge("user", self._user.flush())
        judged += self._fill(self._position)
        self._restart(self._position)
        return judged

    def _restart(self, frame: TimelineFrame) -> None:
        self._origin = frame
        self._frames: dict[TrackName, int] = dict.fromkeys(TRACKS, 0)
        self._waiting = np.zeros((0, len(TRACKS)), np.float32)
        # Quality LQ holds back at most 60 ms, HQ up to 160; their positions are equally exact.
        self._resampler = (
            None
            if self._rate == RATE_HZ
            else soxr.ResampleStream(self._rate, RATE_HZ, len(TRACKS), "float32", "LQ")
        )

    def _resample(self, samples: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        if self._resampler is None:
            return samples
        made: NDArray[np.float32] = self._resampler.resample_chunk(samples, last=last)
        return made

    def _take(self, samples: NDArray[np.float32]) -> list[Judged]:
        """Classify whole batches of (samples, tracks) at `RATE_HZ`."""
        self._waiting = np.concatenate([self._waiting, samples])
        judged = []
        while len(self._waiting) >= FRAME * BATCH:
            batch, self._waiting = np.split(self._waiting, [FRAME * BATCH])
            user, bot = (np.ascontiguousarray(track) for track in batch.T)
            judged += self._judge("user", self._user.push(bot, user))
            judged += self._judge("bot", self._bot.push(bot))
        return judged

    def _judge(self, track: TrackName, speech: list[bool]) -> list[Judged]:
        """Convert decisions on the track's next detector frames to timeline frames."""
        judged: list[Judged] = []
        for speaks in speech:
            self._frames[track] += 1
            stop = self._origin + self._frames[track] * FRAME * self._rate // RATE_HZ
            start, stop = self._judged[track], TimelineFrame(min(stop, self._position))
            if stop == start:
                continue  # silence that the last frame was filled up with
            if judged and judged[-1].speech == speaks:
                start = judged.pop().start
            judged.append(Judged(track, start, stop, speaks))
            self._judged[track] = stop
        return judged

    def _fill(self, stop: TimelineFrame) -> list[Judged]:
        """Classify what is undecided up to `stop` as not speech."""
        judged = [
            Judged(track, start, stop, speech=False)
            for track, start in self._judged.items()
            if start < stop
        ]
        self._judged = dict.fromkeys(TRACKS, stop)
        return judged


def _classifier(name: UserDetectorName) -> SpeechClassifier:
    if name == "level":
        return AnyLoudness()
    if name == "earshot" or (name == "auto" and not is_installed()):
        return Earshot()
    if not is_installed():
        raise DetectorError(
            "turns.detector.user: silero is not installed here: scripts/install --vad,"
            " or elsewhere the Python extra edgerec[vad]; or say auto or earshot"
        )
    return Silero()

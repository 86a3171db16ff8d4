"""A virtual loudspeaker that plays pushed audio: bursts in, blocks stamped in real time out.

A text-to-speech engine delivers five seconds of speech in a tenth of a second. It is recorded as a
loudspeaker would play it: each frame at its own instant, one after the other. Such a loudspeaker is
a virtual device with a perfect crystal; the stamps of its blocks are exact.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from edgerec.audio import (
    Block,
    BlockFlags,
    Delivery,
    DeviceFrame,
    GapReason,
    StreamEnded,
    StreamHeader,
)
from edgerec.clock import SECOND_NS
from edgerec.feeds.playlog import PlayLog, Spoken
from edgerec.feeds.stall_watch import StallWatch
from edgerec.wire.blocks import SAMPLE_BYTES

log = logging.getLogger(__name__)

CONTINUE_NS: Final = SECOND_NS // 5
"""Time after the queue ran out within which audio continues where it ended, without a hole."""
QUEUE_NS: Final = 30 * SECOND_NS  # the longest sentence; a sender that is further ahead waits
QUEUE_BYTES: Final = 8 * 1024 * 1024  # 30 s of stereo at 48 kHz are 6 MB
UTTERANCE_BYTES: Final = 1024  # what an utterance takes beside its audio, generously
PIECE_MS: Final = 100  # a minute pushed at once is released in real time, by pieces of this length

PAUSE: Final = StreamEnded(GapReason.QUIET, "everything pushed so far was played")


class Loudspeaker:
    """A queue of audio that plays; for one thread.

    Played audio leaves as separate streams: `StreamHeader`, consecutive `Block`s, `StreamEnded`.
    One such stream is an utterance: audio of one format without a pause.

    Parameters
    ----------
    log
        Notes of every frame pushed what becomes of it.
    """

    def __init__(self, log: PlayLog | None = None) -> None:
        self._log = log or PlayLog()
        self._utterances: deque[_Utterance] = deque()  # the first one plays
        self._queued_bytes = 0
        self._stalls = StallWatch()
        self._ended_ns = 0  # the instant at which the last utterance had been played
        self._not_before_ns = 0  # audio after a break starts no sooner
        self._broken: list[StreamEnded] = []  # breaks with no audio before them to attach them to
        self.ended: list[Spoken] = []
        """Utterances that have ended or were dropped since this was last emptied."""

    @property
    def playing(self) -> bool:
        """Whether something is queued, or was a moment ago and may continue."""
        return bool(self._utterances)

    @property
    def position(self) -> int:
        """Position of the first frame of the utterance that plays, or of the next one."""
        return self._utterances[0].spoken.first if self._utterances else self._log.pushed

    def queued_ns(self, now_ns: int) -> int:
        """Return how long what is queued will still play."""
        return max(self._utterances[-1].end_ns - now_ns, 0) if self._utterances else 0

    def full(self, now_ns: int) -> bool:
        """Whether no more should be pushed for now."""
        return self._queued_bytes > QUEUE_BYTES or self.queued_ns(now_ns) > QUEUE_NS

    def push(self, header: StreamHeader, pcm: bytes, now_ns: int) -> None:
        """Queue audio that came now; it is played after what is queued, or at once."""
        last = self._utterances[-1] if self._utterances else None
        goes_on = last is not None and not last.over and now_ns <= last.end_ns + CONTINUE_NS
        dry_ns = 0 if goes_on else max(now_ns - (last.end_ns if last else self._ended_ns), 0)
        if last is None or not goes_on or header != last.header:
            start_ns = now_ns if last is None else max(last.end_ns, 0 if goes_on else now_ns)
            start_ns = max(start_ns, self._not_before_ns)
            last = _Utterance(header, self._log.begin(header.sample_rate, start_ns))
            self._utterances.append(last)
            self._queued_bytes += UTTERANCE_BYTES
        frames = len(pcm) // (header.channels * SAMPLE_BYTES)
        stalled_ns = self._stalls.push(
            now_ns, max(last.end_ns - now_ns, 0), frames * SECOND_NS // header.sample_rate, dry_ns
        )
        if stalled_ns:
            log.warning(
                "feed stalled track=%s later_ms=%d until=%r fix=%r",
                header.track,
                stalled_ns // 1_000_000,
                "the next pause",
                "push what is live with live=True or at_ns",
            )
        last.push(pcm)
        self._queued_bytes += len(pcm)

    def break_off(self, fault: StreamEnded, now_ns: int) -> None:
        """End what is queued, where it ends, with a fault: more was expected, and is lost.

        How much is unknown. The hole that declares it is at least as long as a pause; otherwise
        what follows would hide it.
        """
        end_ns = now_ns
        if self._utterances:
            before = self._utterances[-1].ending.refused_s  # of another fault, if there was one
            fault = replace(fault, refused_s=before + fault.refused_s)
            self._utterances[-1].ending = fault
            self._utterances[-1].over = True
            end_ns = max(now_ns, self._utterances[-1].end_ns)
        else:
            self._broken.append(fault)
        self.start_no_sooner(end_ns + CONTINUE_NS)

    def start_no_sooner(self, instant_ns: int) -> None:
        """Have what is pushed next start at an instant, or later."""
        self._not_before_ns = max(instant_ns, self._not_before_ns)

    def clear(self, at_ns: int) -> None:
        """Drop what would play from an instant on, except what `play` has returned already.

        What is pushed after this is another utterance.
        """
        for utterance in self._utterances:
            self._queued_bytes -= utterance.cut(at_ns)
        while self._utterances and self._utterances[-1].unheard:
            gone = self._utterances.pop()
            if gone.ending is not PAUSE:
                self._broken.append(gone.ending)  # that something was lost is still said
            self._end(gone)

    def play(self, now_ns: int) -> list[Delivery]:
        """Return what was played since the last call."""
        played: list[Delivery] = [*self._broken]
        self._broken.clear()
        while self._utterances:
            utterance = self._utterances[0]
            before = len(utterance.pcm)
            played += utterance.play(now_ns)
            self._queued_bytes -= before - len(utterance.pcm)
            if utterance.pcm or not self._over(utterance, now_ns):
                break
            played.append(utterance.ending)
            self._end(self._utterances.popleft())
        return played

    def _over(self, utterance: _Utterance, now_ns: int) -> bool:
        return (
            utterance.over or len(self._utterances) > 1 or now_ns > utterance.end_ns + CONTINUE_NS
        )

    def _end(self, utterance: _Utterance) -> None:
        self._queued_bytes -= UTTERANCE_BYTES
        self._ended_ns = utterance.end_ns
        self.ended.append(utterance.spoken)


class _Utterance:
    """Audio of one format, played without a pause."""

    def __init__(self, header: StreamHeader, spoken: Spoken) -> None:
        self.header = header
        self.spoken = spoken
        self.pcm = bytearray()  # what is not played yet
        self.over = False  # whether nothing is added to it
        self.ending = PAUSE
        self._frame_bytes = header.channels * SAMPLE_BYTES
        self._piece_frames = max(1, header.sample_rate * PIECE_MS // 1000)
        self._played = 0

    @property
    def end_ns(self) -> int:
        return self.spoken.end_ns

    @property
    def unheard(self) -> bool:
        return self.spoken.frames == 0

    def push(self, pcm: bytes) -> None:
        self.pcm += pcm
        self.spoken.frames += len(pcm) // self._frame_bytes

    def cut(self, at_ns: int) -> int:
        """End at an instant, or after what was played already; return how many bytes that drops."""
        self.over = True
        dropped = self.spoken.drop_after(max(self.spoken.heard(at_ns), self._played))
        size = dropped * self._frame_bytes
        del self.pcm[len(self.pcm) - size :]
        return size

    def play(self, now_ns: int) -> Iterator[StreamHeader | Block]:
        while self.pcm:
            frames = min(len(self.pcm) // self._frame_bytes, self._piece_frames)
            end_ns = self.spoken.instant_ns(self._played + frames)
            if end_ns > now_ns:
                return
            flags = BlockFlags(0)
            if self._played == 0:
                flags = BlockFlags.NEW_STREAM
                yield self.header
            pcm = bytes(self.pcm[: frames * self._frame_bytes])
            del self.pcm[: len(pcm)]
            first = DeviceFrame(self._played)
            self._played += frames
            yield Block(first, frames, end_ns, 0, flags, pcm)

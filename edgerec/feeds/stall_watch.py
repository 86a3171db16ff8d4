"""Notices a sender in real time that stalls and catches up: what follows then plays later.

Queued speech pauses, too, and then comes in bursts of any length. A stall is the case in which as
much comes at once as was missing, in audio that keeps real time. What is recorded is the same.
"""

from __future__ import annotations

from typing import Final

from edgerec.clock import SECOND_NS

PACED_NS: Final = SECOND_NS  # of audio in real time before a stall; a short word is pushed at once
SETTLE_NS: Final = SECOND_NS // 5  # after a stall; what was missing has come by then
JITTER_NS: Final = SECOND_NS // 20  # of what is sent in real time: the shift that may stay unsaid
LONGEST_NS: Final = 5 * SECOND_NS  # a longer hole is a pause


class StallWatch:
    """Follows the pushes into one queue; for one thread."""

    def __init__(self) -> None:
        self._paced_ns = 0  # audio in real time without a pause so far
        self._since_ns: int | None = None  # when a stall may have ended
        self._missing_ns = 0  # how long that was

    def push(self, now_ns: int, hand_ns: int, push_ns: int, dry_ns: int) -> int:
        """Note a push; return how much later everything plays because of a stall, in ns, else 0.

        Parameters
        ----------
        hand_ns
            Duration of what was queued and not played before the push.
        push_ns
            Duration of the push.
        dry_ns
            How long the queue was empty before a push that does not continue it; 0: it does.
        """
        if dry_ns:
            paced = self._paced_ns >= PACED_NS and dry_ns <= LONGEST_NS
            self._since_ns, self._missing_ns = (now_ns if paced else None), dry_ns
            self._paced_ns = 0
        if self._since_ns is not None:
            if now_ns - self._since_ns < SETTLE_NS:
                return 0
            self._since_ns = None
            if abs(hand_ns - self._missing_ns) <= JITTER_NS:
                return hand_ns
        self._paced_ns = self._paced_ns + push_ns if hand_ns <= SETTLE_NS else 0
        return 0

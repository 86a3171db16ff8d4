"""Limits connections and requests of the control socket per user, not per connection.

The kernel says which user a connection belongs to (SO_PEERCRED). A program that holds connections
or reconnects all the time takes them from the same user's other programs; root and the service's
own user, who control the service anyway, always find a seat.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import Counter
from dataclasses import dataclass
from typing import Final

MAX_CLIENTS: Final = 32
KEPT_SEATS: Final = 2  # of these, for root and the service's own user; the last one for root alone
SEATS_EACH: Final = 15  # of any other user: two of them leave those to others
MAX_REQUESTS: Final = 200  # at once: a script that is written down in full
REQUESTS_PER_S: Final = 50  # from then on; a Pi answers thousands, but should be recording
MAX_PEERS: Final = 64  # users that are remembered, for as long as their requests count

_PEERCRED: Final = struct.Struct("3i")  # pid, uid, gid: struct ucred of unix(7)


def uid_of(connection: socket.socket) -> int:
    """Return the user whose program has connected.

    Raises
    ------
    OSError
        It is gone.
    """
    sent = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size)
    return int(_PEERCRED.unpack(sent)[1])


class Allowance:
    """A rate limit on requests: many at once, then `REQUESTS_PER_S`."""

    def __init__(self, now_ns: int) -> None:
        self._left = float(MAX_REQUESTS)
        self._since_ns = now_ns

    def take(self, now_ns: int) -> bool:
        """Count one request; return whether it is allowed."""
        earned = (now_ns - self._since_ns) / 1e9 * REQUESTS_PER_S
        self._left = max(min(self._left + earned, MAX_REQUESTS) - 1, -1.0)
        self._since_ns = now_ns
        return self._left >= 0

    def is_whole(self, now_ns: int) -> bool:
        """Tell whether it is as if no request had ever been made."""
        return self._left + (now_ns - self._since_ns) / 1e9 * REQUESTS_PER_S >= MAX_REQUESTS


class Seats:
    """A number of places, shared by user.

    Parameters
    ----------
    total
        How many there are.
    kept
        Of these, for root and the service's own user; the last one for root alone.
    each
        How many any other user may have.
    """

    def __init__(self, total: int, *, kept: int, each: int) -> None:
        self._total = total
        self._kept = kept
        self._each = each
        self._taken: Counter[int] = Counter()

    def taken_by(self, uid: int) -> int:
        """Return how many a user has."""
        return self._taken[uid]

    def take(self, uid: int) -> bool:
        """Take one; return whether there is one for this user."""
        kept = 0 if uid == 0 else 1 if _is_ours(uid) else self._kept
        if self._taken.total() >= self._total - kept:
            return False
        if not _is_ours(uid) and self._taken[uid] >= self._each:
            return False
        self._taken[uid] += 1
        return True

    def leave(self, uid: int) -> None:
        """Give one back."""
        self._taken[uid] -= 1
        if not self._taken[uid]:
            del self._taken[uid]


@dataclass(frozen=True, slots=True)
class Peer:
    """One user."""

    uid: int
    allowance: Allowance
    """Rate limit shared by all the user's connections."""


class Peers:
    """The users who are connected, or were until a moment ago; for the control thread."""

    def __init__(self) -> None:
        self._peers: dict[int, Peer] = {}
        self._seats = Seats(MAX_CLIENTS, kept=KEPT_SEATS, each=SEATS_EACH)

    def of(self, uid: int, now_ns: int) -> Peer | None:
        """Return a user; None: more users than are remembered come and go."""
        if uid not in self._peers:
            for known in list(self._peers.values()):
                if not self._seats.taken_by(known.uid) and known.allowance.is_whole(now_ns):
                    del self._peers[known.uid]
            if len(self._peers) >= MAX_PEERS and not _is_ours(uid):
                return None
            self._peers[uid] = Peer(uid, Allowance(now_ns))
        return self._peers[uid]

    def may_connect(self, peer: Peer, now_ns: int) -> bool:
        """Count a connection as a request; return whether it is allowed."""
        return _is_ours(peer.uid) or peer.allowance.take(now_ns)

    def allowance(self, peer: Peer, now_ns: int) -> Allowance:
        """Return the rate limit for the requests of a new connection."""
        return Allowance(now_ns) if _is_ours(peer.uid) else peer.allowance

    def seat(self, peer: Peer) -> bool:
        """Take a seat for a connection; return whether there is one."""
        return self._seats.take(peer.uid)

    def leave(self, peer: Peer) -> None:
        """Give a seat back."""
        self._seats.leave(peer.uid)


def _is_ours(uid: int) -> bool:
    return uid in (0, os.geteuid())

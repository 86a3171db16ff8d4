"""Supervises one track's capture child: starts it, reads it, and kills and restarts it if it hangs.

Never blocks. Frames are the only proof of life: an unplugged device leaves PortAudio running,
active and silent. All of it happens inside `deliver`, at the time that the caller gives.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edgerec.audio import (
    Block,
    Delivery,
    GapReason,
    SourceState,
    SourceStateName,
    StreamEnded,
    StreamHeader,
    TrackName,
)
from edgerec.capture.devices.device_verdict import Findings, OpenDevice
from edgerec.capture.process import ChildProcess
from edgerec.capture.stream_guard import Message, OwnAudio, TrueRate, sent_before
from edgerec.clock import SECOND_NS
from edgerec.wire.blocks import WireError

LULL_NS: Final = 550_000_000
"""Longest time between two blocks of a running device, or two lumps of a sound server: 0.5 s."""


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """Time limits of a `ChildSource`, in seconds."""

    stall_ns: int = 1_200_000_000
    """Limit for the next frame. Twelve blocks of 100 ms: no scheduler is that late. A stall is
    found within two seconds, though checks are 0.9 s apart. At least four blocks, because a device
    may deliver two at a time."""
    start_ns: int = 10 * SECOND_NS
    """Limit for the first frame: PulseAudio's null sink takes 2 s, a USB card under load a few."""
    exit_ns: int = 1 * SECOND_NS
    """Limit for the exit status of a child that has closed its pipe."""
    first_retry_ns: int = SECOND_NS // 4
    last_retry_ns: int = 2 * SECOND_NS
    """Longest pause between starts: one costs a Pi most of a second of CPU."""
    steady_ns: int = 5 * SECOND_NS
    """Lifetime after which a stream is retried quickly again; without it a device that comes and
    goes at once would be retried quickly indefinitely."""


class ChildSource:
    """One track's capture child, whichever process that is at present.

    Belongs to one thread, which must live as long as the children it starts: the kernel kills
    them with the thread (see `wire.pipe.die_with_parent`).

    Parameters
    ----------
    command
        Command of a process that writes a block stream to its standard output.
    env
        Variables added to our own environment.
    now_ns
        Current time on CLOCK_MONOTONIC_RAW. The child starts at the first `deliver`.
    patient
        Whether its blocks are long, and may be fetched a few at a time.
    """

    def __init__(
        self,
        track: TrackName,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        now_ns: int,
        limits: ChildLimits | None = None,
        patient: bool = False,
    ) -> None:
        self.track = track
        self._patient = patient
        self.state = SourceState("starting", now_ns, "", 0)
        self.findings = Findings()
        """Findings of the device watch about the device; shared with its thread."""
        self._command = list(command)
        self._env = dict(env)
        self._limits = limits or ChildLimits()
        self._child: ChildProcess | None = None
        self._own: OwnAudio | None = None  # of what the child sends
        self._starts = 0
        self._heard_ns = now_ns  # the last block's arrival, or the start while there is none
        self._looked_ns = now_ns  # the last call of `deliver`
        self._stream_ns: int | None = None  # the first block since the start
        self._closed_ns: int | None = None  # the child's pipe was at its end
        self._retry_ns = now_ns
        self._backoff_ns = self._limits.first_retry_ns
        self._told: StreamEnded | None = None  # since the last header
        self._header: StreamHeader | None = None  # the last one
        self._stall_ns = self._limits.stall_ns
        self._true_rate = TrueRate()
        self._appeared_ns: int | None = None  # a device has, since the last start and block

    @property
    def unhurried(self) -> bool:
        """Whether what the child will send may wait; not while something is wrong with it."""
        has_room = self._child is not None and self._child.roomy
        goes_on = self.state.name == "running" and self._heard_ns > self._looked_ns - LULL_NS
        doubted = self._own is not None and self._own.doubted
        return self._patient and has_room and goes_on and not doubted

    @property
    def held_since_ns(self) -> int | None:
        """Arrival of the oldest block that is held back for now; None while none is."""
        if self._own is None or self._child is None or self._child.killed:
            return None
        return self._own.held_since_ns

    def fileno(self) -> int | None:
        """Return the pipe to select on; None while there is none and `deliver` needs a timer."""
        if self._child is None or (self._own is not None and self._own.doubted):
            return None  # so that what is held back is bounded, whatever the child sends
        return self._child.fileno()

    def deliver(self, now_ns: int) -> list[Delivery]:
        """Return everything there is now, in order, and keep the child going. Never blocks.

        Call it when `fileno` is readable, or within a second while it is `unhurried`; otherwise at
        least every quarter of a second.
        """
        rested = now_ns - self._looked_ns > LULL_NS
        self._looked_ns = now_ns
        if self.findings.take_appearance():
            self._appeared_ns = now_ns
        if self._child is None and (self._appeared_ns is not None or now_ns >= self._retry_ns):
            fault = self._start(now_ns)
            if fault is not None:
                return self._tell(fault, now_ns)
        child, own = self._child, self._own
        if child is None or own is None:
            return []
        if child.killed:
            return self._await_exit(child, now_ns)
        accusation = self.findings.accusation(child.pid)
        deliveries: list[Delivery] = []
        fault = self._receive(child, own, now_ns, deliveries, rested=rested)
        if accusation is not None:
            wrong, since_ns = accusation
            deliveries = sent_before(since_ns, deliveries)
            fault = StreamEnded(GapReason.SOURCE, wrong)
        elif fault is None and child.at_end and not own.doubted:
            child.kill()  # nothing can come of it any more, should it still run
            self._closed_ns = now_ns
            return deliveries + self._await_exit(child, now_ns)
        if fault is not None:
            child.kill()
            deliveries += self._tell(fault, now_ns)
        return deliveries

    def close(self) -> None:
        """Kill the child and wait for its end, unless a driver holds it back."""
        if self._child is not None:
            self._child.kill()
            self._child.wait(self._limits.exit_ns / 1e9)
            self._child = None

    def _start(self, now_ns: int) -> StreamEnded | None:
        self._starts += 1
        self._appeared_ns = None
        self.state = replace(self.state, restarts=self._starts - 1)
        self._heard_ns = now_ns
        self._stream_ns = None
        self._closed_ns = None
        try:
            self._child = ChildProcess(self._command, self._env)
        except (OSError, subprocess.SubprocessError) as error:
            return StreamEnded(GapReason.ABSENT, f"starting {self._command[0]}: {error}")
        self._own = OwnAudio(self.findings, self._child.pid)
        self.findings.opened = OpenDevice(self._child.pid, None, now_ns)
        return None

    def _receive(
        self,
        child: ChildProcess,
        own: OwnAudio,
        now_ns: int,
        deliveries: list[Delivery],
        *,
        rested: bool,
    ) -> StreamEnded | None:
        """Read before judging: a reader that was late must not take itself for a stall."""
        try:
            own_messages = own.sift(self._arriving(child, now_ns), now_ns, ended=child.at_end)
            fault = self._note(own_messages, now_ns, deliveries)
        except WireError as error:
            fault = StreamEnded(GapReason.SOURCE, f"the capture child's output: {error}")
        if fault is None and child.at_end:
            return self._note(own.rest(), now_ns, deliveries)  # none while it is doubted
        if fault is None and not rested:  # else we may have been late ourselves: check next time
            fault = self._overdue(now_ns)
        if fault is not None:
            self._note(own.held(), now_ns, deliveries)
        return fault

    def _arriving(self, child: ChildProcess, now_ns: int) -> Iterator[Message]:
        """Yield what comes: with a block of whichever device the child is alive."""
        for message in child.messages():
            if isinstance(message, StreamHeader):
                # At once, not when it has passed: what follows waits for the watch to confirm it.
                self.findings.opened = replace(
                    self.findings.opened or OpenDevice(child.pid, None, now_ns),
                    device=message.device,
                    source=message.source,
                )
            if isinstance(message, Block):
                # Not as long ago as a late reader would conclude: that is not a stall.
                self._heard_ns = min(max(message.arrived_ns, now_ns - LULL_NS), now_ns)
            yield message

    def _note(
        self, messages: Iterable[Message], now_ns: int, deliveries: list[Delivery]
    ) -> StreamEnded | None:
        """Deliver them one by one, so that what came before a malformed block counts."""
        for message in messages:
            if isinstance(message, StreamHeader):
                deliveries.append(self._begin(message))
                continue
            deliveries.append(message)
            self._go_on(message, now_ns)
            if wrong := self._true_rate.judge(message):
                return StreamEnded(GapReason.SOURCE, wrong)
        return None

    def _begin(self, header: StreamHeader) -> StreamHeader:
        self._told = None
        self._header = self._true_rate.begin(header)
        return self._header

    def _go_on(self, block: Block, now_ns: int) -> None:
        if self._appeared_ns is not None and block.arrived_ns >= self._appeared_ns:
            self._appeared_ns = None  # not by one that was held back when it appeared
        self._stream_ns = now_ns if self._stream_ns is None else self._stream_ns
        if self._header is not None:
            block_ns = block.frames * SECOND_NS // self._header.sample_rate
            self._stall_ns = max(self._limits.stall_ns, 4 * block_ns)
            self._change_state("running", self._header.device, now_ns)

    def _overdue(self, now_ns: int) -> StreamEnded | None:
        silent_ns = now_ns - self._heard_ns
        if self._stream_ns is not None and silent_ns > self._stall_ns:
            limit_s = self._stall_ns / 1e9
            return StreamEnded(GapReason.STALL, f"no frame for {limit_s:g} s")
        if self._stream_ns is None and silent_ns > self._limits.start_ns:
            limit_s = self._limits.start_ns / 1e9
            return StreamEnded(GapReason.ABSENT, f"not open after {limit_s:g} s")
        return None

    def _await_exit(self, child: ChildProcess, now_ns: int) -> list[Delivery]:
        """Reap a killed child. One that a driver holds back (state D) is not replaced.

        Another one would only hang in the same driver.
        """
        exited = child.exited()
        deliveries: list[Delivery] = []
        if self._closed_ns is not None and (
            exited or now_ns - self._closed_ns > self._limits.exit_ns
        ):
            self._closed_ns = None
            deliveries = self._tell(StreamEnded(GapReason.ABSENT, child.last_words()), now_ns)
        if exited:
            child.close()
            self._child = self.findings.opened = None
        return deliveries

    def _tell(self, fault: StreamEnded, now_ns: int) -> list[Delivery]:
        """Plan the next start, and report what happened unless it was reported last time."""
        if self._stream_ns is not None and now_ns - self._stream_ns >= self._limits.steady_ns:
            self._backoff_ns = self._limits.first_retry_ns
        self._retry_ns = now_ns + self._backoff_ns
        self._backoff_ns = min(2 * self._backoff_ns, self._limits.last_retry_ns)
        name: SourceStateName = "stalled" if fault.reason is GapReason.STALL else "absent"
        self._change_state(name, fault.detail, now_ns)
        if fault == self._told:
            return []
        self._told = fault
        return [fault]

    def _change_state(self, name: SourceStateName, detail: str, now_ns: int) -> None:
        if name == self.state.name and detail == self.state.detail:
            return  # as with nearly every block
        since_ns = self.state.since_ns if name == self.state.name else now_ns
        self.state = replace(self.state, name=name, since_ns=since_ns, detail=detail)

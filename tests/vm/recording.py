"""What the published chunks hold: where each track is silent, and how late the ramp stands."""

import json
import wave
from array import array
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.vm.machine import boot_id
from tests.vm.ramp import CLIMB_PER_S, MARGIN, STEP_S, misplaced_s, played

TRACKS = ("user", "bot")
# Where the ramp falls it is not told, nor within a step of a chunk's end; two steps may be cut so.
UNTOLD_S = 2 * MARGIN / CLIMB_PER_S + 4 * STEP_S


@dataclass
class Track:
    """One track, between two instants of CLOCK_MONOTONIC."""

    gaps: list = field(default_factory=list)
    """Start and stop in ns; those that adjoin, for reasons that changed, are one."""
    placed: list = field(default_factory=list)
    """The instant in ns at which a sample stands on the timeline, and how late that is in s."""

    def holes_s(self):
        """Return the pauses between samples that tell their time, longer than they must be."""
        pauses = ((after - before) / 1e9 for (before, _), (after, _) in pairwise(self.placed))
        return [pause_s for pause_s in pauses if pause_s > UNTOLD_S]

    def around(self, gap):
        """Return how late the last sample before a gap is, and the first one behind it."""
        start_ns, stop_ns = gap
        before = [late_s for ns, late_s in self.placed if ns < start_ns]
        after = [late_s for ns, late_s in self.placed if ns >= stop_ns]
        return before[-1], after[0]


def read_recording(root, since_ns, runs_ns):
    """Read this boot's chunks from an instant on; return the tracks, and how many frames are lost.

    Parameters
    ----------
    runs_ns
        Of each track's player.
    """
    tracks = {name: Track() for name in TRACKS}
    lost = 0
    for path in sorted(Path(root).glob("ready/**/*_chunk.json")):
        chunk = json.loads(path.read_text())
        if chunk["boot_id"] != boot_id():
            continue
        rate = chunk["format"]["sample_rate"]
        lost += chunk["missing_before"]
        with wave.open(str(path.with_suffix(".wav"))) as file:
            samples = array("h", file.readframes(file.getnframes()))
        for index, (name, track) in enumerate(tracks.items()):
            mine = samples[index :: len(TRACKS)]

            def instant_ns(frame, chunk=chunk, rate=rate):
                return chunk["monotonic_ns"] + frame * 1_000_000_000 // rate

            for gap in chunk["tracks"][name]["gaps"]:
                start = gap["start_frame"] - chunk["start_frame"]
                if instant_ns(start) >= since_ns:
                    _add(track.gaps, instant_ns(start), instant_ns(start + gap["frames"]))
            track.placed += [
                (instant_ns(frame), misplaced_s(instant_ns(frame), phase_s, runs_ns[name]))
                for frame, phase_s in played(mine, rate)
                if instant_ns(frame) >= since_ns
            ]
    return tracks, lost


def _add(gaps, start_ns, stop_ns):
    if gaps and start_ns - gaps[-1][1] < 1_000_000:
        gaps[-1] = (gaps[-1][0], stop_ns)
    else:
        gaps.append((start_ns, stop_ns))

"""Inputs made up for a replay, and what it has published of them."""

import wave

import numpy as np

from edgerec.engine.replay import replay
from edgerec.store.archive.verify import verify
from tests.rigs.fakes import config
from tests.rigs.made_recordings import chunks, sidecar

RATE = 16_000


def replayed(root, inputs, **recording):
    published = []
    replay(config(root, **recording), inputs, on_published=published.append)
    assert verify(root).ok
    return published


def write_wav(path, samples, rate=48_000):
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, rate, 0, "NONE", ""))
        wav.writeframes(np.rint(samples * 32_767).astype("<i2").tobytes())
    return path


def gaps(published, track):
    """Of all chunks, with those that a chunk's end has cut in two put together."""
    found = [g for one in chunks(published) for g in sidecar(one)["tracks"][track]["gaps"]]
    whole = []
    for gap in found:
        last = whole[-1] if whole else None
        if last and last["reason"] == gap["reason"] and end(last) == gap["start_frame"]:
            last["frames"] += gap["frames"]
        else:
            whole.append(dict(gap))
    return whole


def end(gap):
    return gap["start_frame"] + gap["frames"]

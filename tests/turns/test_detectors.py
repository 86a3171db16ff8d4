"""Detectors on the timeline: what they say tiles it, whatever is pushed, skipped or missing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import Span, TimelineFrame
from edgerec.turns import detectors as module
from edgerec.turns.detectors import BATCH, DetectorError, Detectors
from edgerec.turns.user import LOOKBACK

FRAME_S = 0.032
LAG_S = 0.5


def span(start, pcm):
    pcm = np.asarray(pcm, np.int16)
    return Span(TimelineFrame(start), pcm, np.zeros(pcm.shape, np.uint8))


def noise(frames, user=30.0, bot=0.0, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((2, frames)) * [[user], [bot]]


def tiles(judged, track, start=0):
    """The frame behind the last, if each follows on the one before."""
    for piece in judged:
        if piece.track == track:
            assert piece.start == start
            assert piece.stop > piece.start
            start = piece.stop
    return start


def spoken(judged, track, rate):
    """Where there is speech, in seconds."""
    found = []
    for piece in judged:
        if piece.track == track and piece.speech:
            start = found.pop()[0] if found and found[-1][1] == piece.start else piece.start
            found.append((start, piece.stop))
    return [(start / rate, stop / rate) for start, stop in found]


@settings(deadline=None, max_examples=30)
@given(
    rate=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]),
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.integers(1, 30_000)),
            st.tuples(st.just("skip"), st.integers(1, 20_000)),
            st.tuples(st.just("flush"), st.just(0)),
        ),
        max_size=6,
    ),
)
def test_each_track_is_tiled_and_never_lags_by_more_than_half_a_second(rate, steps):
    detectors = Detectors(rate, "level")
    at, judged = 0, []
    for what, frames in steps:
        if what == "push":
            judged += detectors.push(span(at, noise(frames)))
            at += frames
        elif what == "skip":
            at += frames
            judged += detectors.skip_to(TimelineFrame(at))
        else:
            judged += detectors.flush()
        for track in ("user", "bot"):
            stop = tiles(judged, track)
            assert at - LAG_S * rate <= stop <= at
            if what != "push":
                assert stop == at
    judged += detectors.flush()
    assert tiles(judged, "user") == tiles(judged, "bot") == at


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_a_sound_is_found_where_it_is_on_the_timeline(rate):
    pcm = noise(6 * rate, bot=3.0)
    pcm[:, 3 * rate : 4 * rate] *= 100
    detectors = Detectors(rate, "level")
    judged = detectors.push(span(0, pcm)) + detectors.flush()
    # A frame is windowed with the one before it: an edge may be two frames off.
    for track in ("user", "bot"):
        [(start, stop)] = spoken(judged, track, rate)
        assert start == pytest.approx(3.0, abs=2 * FRAME_S)
        assert stop == pytest.approx(4.0, abs=2 * FRAME_S)


def test_what_is_skipped_does_not_move_what_follows():
    rate = 16_000
    pcm = noise(6 * rate)
    pcm[:, 3 * rate : 4 * rate] *= 100
    detectors = Detectors(rate, "level")
    judged = detectors.push(span(0, pcm[:, : 2 * rate]))
    judged += detectors.skip_to(TimelineFrame(50 * rate))
    judged += detectors.push(span(50 * rate, pcm[:, 2 * rate :])) + detectors.flush()
    [(start, _)] = spoken(judged, "user", rate)
    assert start == pytest.approx(51.0, abs=2 * FRAME_S)


def test_a_hole_in_the_microphone_leaves_the_noise_floor_as_it_was():
    rate = 16_000
    pcm = noise(40 * rate)
    pcm[0, 10 * rate : 25 * rate] = 0  # longer than the floor remembers
    detectors = Detectors(rate, "level")
    judged = detectors.push(span(0, pcm)) + detectors.flush()
    assert spoken(judged, "user", rate) == []


def test_steady_noise_that_sets_in_is_speech_for_some_seconds_only():
    rate = 16_000
    pcm = noise(40 * rate)
    pcm[0, 10 * rate :] *= 20
    detectors = Detectors(rate, "level")
    judged = detectors.push(span(0, pcm)) + detectors.flush()
    assert all(stop < 19.5 for _, stop in spoken(judged, "user", rate))


def test_what_waits_is_bounded_by_its_constants():
    assert (BATCH + LOOKBACK) * FRAME_S + 0.065 < LAG_S  # and what soxr holds back


def test_silero_that_is_not_installed_is_refused_and_auto_does_without(monkeypatch):
    monkeypatch.setattr(module, "is_installed", lambda: False)
    with pytest.raises(DetectorError, match=r"edgerec\[vad\]"):
        Detectors(16_000, "silero")
    assert Detectors(16_000, "auto").push(span(0, noise(160))) == []

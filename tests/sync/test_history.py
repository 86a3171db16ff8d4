import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.audio import GapReason, TimelineFrame
from edgerec.sync.history import History, HistoryError, OverrunError


def frames(start: int, stop: int) -> np.ndarray:
    return np.arange(start, stop, dtype=np.int16)


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9), st.booleans()), max_size=60),
    st.integers(9, 24),
)
def test_history_returns_what_was_committed_or_says_how_much_it_lost(appends, capacity):
    history = History(capacity)
    said = [np.zeros(0, np.int16), np.zeros(0, np.int16)]
    why = [np.zeros(0, np.uint8), np.zeros(0, np.uint8)]
    claimed = 0
    for track, length, is_audio in appends:
        start = history.end(track)
        if start + length - history.committed > capacity:
            continue  # the other track lags: the synchronizer commits before it goes on
        pcm = frames(start, start + length) if is_audio else np.zeros(length, np.int16)
        if is_audio:
            history.append(track, pcm)
        else:
            history.silence(track, length, GapReason.STALL)
        said[track] = np.concatenate((said[track], pcm))
        reason = np.full(length, 0 if is_audio else GapReason.STALL, np.uint8)
        why[track] = np.concatenate((why[track], reason))
        claimed = max(claimed, start + length)
        history.commit(TimelineFrame(min(history.end(0), history.end(1))))
    committed = history.committed
    assert committed == min(len(said[0]), len(said[1]))
    for start in range(committed):
        lost = claimed - capacity - start
        if lost > 0:
            with pytest.raises(OverrunError) as caught:
                history.read(TimelineFrame(start), committed - start)
            assert caught.value.lost == min(lost, committed - start)
        else:
            span = history.read(TimelineFrame(start), committed - start)
            assert span.start == start
            for track in (0, 1):
                assert (span.pcm[track] == said[track][start:committed]).all()
                assert (span.reasons[track] == why[track][start:committed]).all()


def test_silence_of_a_quiet_source_is_no_gap():
    history = History(8)
    history.silence(0, 4, GapReason.QUIET)
    history.silence(1, 4, GapReason.OFF)
    history.commit(TimelineFrame(4))
    assert history.read(TimelineFrame(0), 4).reasons.tolist() == [[0] * 4, [GapReason.OFF] * 4]


def test_commit_needs_every_track_and_never_goes_back():
    history = History(8)
    history.append(0, frames(0, 4))
    with pytest.raises(HistoryError, match="the tracks end at"):
        history.commit(TimelineFrame(1))
    history.append(1, frames(0, 4))
    history.commit(TimelineFrame(4))
    history.commit(TimelineFrame(2))
    assert history.committed == 4


def test_what_is_not_committed_cannot_be_read():
    history = History(8)
    history.append(0, frames(0, 4))
    history.append(1, frames(0, 4))
    history.commit(TimelineFrame(2))
    with pytest.raises(ValueError, match="are committed"):
        history.read(TimelineFrame(0), 3)


def test_a_track_cannot_run_over_what_the_other_has_not_reached():
    history = History(8)
    history.append(0, frames(0, 8))
    with pytest.raises(HistoryError, match="ahead of the commit"):
        history.append(0, frames(8, 9))
    assert history.end(0) == 8


def test_reader_lapped_during_its_copy_is_told():
    """The writer claims before it overwrites: a reader that looks at the claim last knows."""
    history = History(4)
    for track in (0, 1):
        history.append(track, frames(0, 4))
    history.commit(TimelineFrame(4))

    class LappedWhileCopied:
        def __init__(self, data):
            self.data = data

        def __getitem__(self, place):
            history._claimed += 3
            return self.data[place]

    history._pcm = LappedWhileCopied(history._pcm)
    with pytest.raises(OverrunError) as caught:
        history.read(TimelineFrame(0), 4)
    assert caught.value.lost == 3


def test_writer_claims_frames_before_it_overwrites_them():
    history = History(4)
    claimed_when_written = []

    class Watched:
        def __init__(self, data):
            self.data = data

        def __setitem__(self, place, value):
            claimed_when_written.append(history._claimed)
            self.data[place] = value

    history._pcm = Watched(history._pcm)
    history.append(0, frames(0, 3))
    assert claimed_when_written == [3]

import numpy as np
import pytest

from edgerec.store.records.layout import Layout

TRACKS_PCM = np.array([[1, 30000, -30000, 7], [2, 10000, -10000, -7]], dtype=np.int16)


def test_stereo_has_the_user_left_and_the_bot_right():
    layout = Layout(16000, num_channels=2)
    assert layout.channels("chunk") == ("user", "bot")
    assert layout.samples("chunk", TRACKS_PCM)[:, 0].tolist() == TRACKS_PCM[0].tolist()
    assert layout.samples("chunk", TRACKS_PCM)[:, 1].tolist() == TRACKS_PCM[1].tolist()


def test_mono_is_the_sum_held_at_full_scale_instead_of_wrapping_round():
    layout = Layout(16000, num_channels=1)
    assert layout.channels("chunk") == ("mix",)
    assert layout.samples("chunk", TRACKS_PCM).tolist() == [[3], [32767], [-32768], [0]]


@pytest.mark.parametrize(("what", "index"), [("user", 0), ("bot", 1)])
def test_a_track_file_holds_its_track_alone(what, index):
    layout = Layout(16000, num_channels=1, separate_tracks=True)
    assert layout.files == ("chunk", "user", "bot")
    assert layout.channels(what) == (what,)
    assert layout.samples(what, TRACKS_PCM)[:, 0].tolist() == TRACKS_PCM[index].tolist()


def test_without_separate_tracks_the_chunk_is_the_only_file():
    assert Layout(16000, num_channels=2).files == ("chunk",)


def test_other_numbers_of_channels_have_no_meaning():
    with pytest.raises(ValueError, match="num_channels is 3, expected 1 or 2"):
        Layout(16000, num_channels=3)


def test_a_rate_of_nothing_has_no_meaning():
    with pytest.raises(ValueError, match="sample_rate is 0, expected at least 1 Hz"):
        Layout(0, num_channels=2)


def test_a_rate_that_opus_does_not_have_is_refused_with_those_that_it_has():
    with pytest.raises(ValueError, match="sample_rate is 44100, Opus has only 8000, 12000, 16000"):
        Layout(44100, num_channels=2, format="opus")
    assert Layout(44100, num_channels=2, format="flac").format == "flac"

"""The user's detector: when it asks its classifier, and where it puts the beginning of speech."""

import numpy as np

from edgerec.turns.bands import FRAME, BandMeter, NoiseFloor
from edgerec.turns.silero import Silero
from edgerec.turns.user import LOOKBACK, Thresholds, UserDetector

BATCH = 5
SILENCE = np.zeros(BATCH * FRAME, np.float32)


class Network:
    """Finds speech in frames whose number is in `speech`; counts the frames it was asked of."""

    def __init__(self, speech=()):
        self.speech = speech
        self.heard = []

    def probability(self, frame, /):
        number = round(float(frame[0]) * 1e6)
        self.heard.append(number)
        return 0.9 if number in self.speech else 0.0


class Doubtful(Silero):
    thresholds = Thresholds(on=0.5, off=0.5, likely=0.8)


def frames(count, loud, seed=5):
    """Noise, loud where asked; the first sample of each frame is its number."""
    rng = np.random.default_rng(seed)
    made = 1e-3 * rng.standard_normal((count, FRAME)).astype(np.float32)
    made[list(loud)] *= 100
    made[:, 0] = np.arange(count) / 1e6
    return made


def run(detector, made):
    said = []
    for start in range(0, len(made), BATCH):
        said += detector.push(SILENCE, made[start : start + BATCH].ravel())
    return said + detector.flush()


def drawn(said):
    return "".join(".S"[speech] for speech in said)


def test_while_nothing_stands_out_the_network_is_not_asked():
    network = Network()
    assert not any(run(UserDetector(Doubtful(network)), frames(500, ())))
    assert network.heard == []


def test_the_network_hears_what_came_right_before_each_frame_once_and_then_sleeps_again():
    network = Network()
    run(UserDetector(Doubtful(network)), frames(500, range(100, 105)))
    assert network.heard[:7] == [94, 95, 96, 97, 98, 99, 100]
    assert network.heard == list(range(94, network.heard[-1] + 1))
    assert 104 + 10 < network.heard[-1] < 104 + 20


def test_speech_begins_where_it_became_loud_and_ends_when_the_classifier_says_so():
    network = Network(speech=range(103, 120))
    said = run(UserDetector(Doubtful(network)), frames(200, range(100, 150)))
    assert drawn(said) == "." * 100 + "S" * 20 + "." * 80


def test_a_decision_waits_for_a_fixed_number_of_frames():
    network = Network(speech=range(108, 130))
    said = run(UserDetector(Doubtful(network)), frames(200, range(100, 150)))
    # Sure at 112; 104 is the last that is still open then.
    assert drawn(said).index("S") == 112 - LOOKBACK


def test_what_is_probable_for_a_moment_only_is_no_speech():
    network = Network(speech=[103, 104, 105, 106, 110, 111, 112, 113])
    assert not any(run(UserDetector(Doubtful(network)), frames(200, range(100, 150))))


def test_speech_that_no_longer_stands_out_has_ended_whatever_the_classifier_says():
    network = Network(speech=range(100, 200))
    said = run(UserDetector(Doubtful(network)), frames(200, range(100, 120)))
    assert 119 < len(drawn(said).rstrip(".")) < 119 + 12


def test_bands_show_the_power_of_a_sine_in_one_of_them():
    at = np.arange(40 * FRAME)
    meter = BandMeter()
    powers = meter.measure((0.1 * np.sin(2 * np.pi * 0.15 * at)).astype(np.float32))[2:]
    assert np.allclose(powers.sum(axis=1), 0.1**2 / 2, rtol=0.02)
    assert np.all(powers.max(axis=1) > 0.97 * powers.sum(axis=1))


def test_the_floor_is_the_quietest_of_the_last_seconds_and_knows_no_holes():
    floor = NoiseFloor(1, ignore_silence=True)
    steady = np.full((64, 1), 1e-4, np.float32)
    assert np.allclose(floor.follow(steady), 1e-4)
    for _ in range(9):
        risen = floor.follow(steady * 100)
    assert np.allclose(risen, 1e-2)
    for _ in range(3):
        hole = floor.follow(steady * 0 + 1e-12)
    assert np.allclose(hole, 1e-2)

"""`edgerec run` on real PortAudio, ALSA and PulseAudio: what was played is what is in the files."""

import itertools
import os
import signal
import time

import numpy as np
import pytest

from tests.rigs.alignment import find
from tests.rigs.played_kiosk import (
    LEAST_WHILE_BENDING,
    RATE,
    STARTS_S,
    Kiosk,
    correlations,
    likeness,
    recorded,
)

pytestmark = pytest.mark.real

KNOWN_S = 40.0  # by then the devices' clocks are known as well as a sound server lets them be


@pytest.fixture
def kiosk(sound_server, tmp_path):
    kiosks = []

    def start(seconds, lead_s):
        kiosks.append(Kiosk(sound_server, tmp_path, seconds, lead_s))
        return kiosks[-1]

    yield start
    for started in kiosks:
        started.close()


def test_what_is_played_is_recorded_user_left_and_bot_right_without_a_gap(kiosk):
    seconds = 20.0
    kiosk = kiosk(seconds, KNOWN_S)
    time.sleep(KNOWN_S + seconds - STARTS_S)
    kiosk.stop()
    channels, gaps = recorded(kiosk.root)
    assert gaps == {"user": [], "bot": []}
    for alike in likeness(kiosk.heard, channels).values():
        assert np.median(alike) > 0.99


def test_a_device_that_stalls_is_a_gap_as_long_as_what_is_missing_and_the_other_has_none(kiosk):
    seconds, lead_s, plays_s = 20.0, 8.0, 5.0
    kiosk = kiosk(seconds, lead_s)
    time.sleep(lead_s + plays_s - STARTS_S)
    os.kill(kiosk.child_of("user"), signal.SIGSTOP)  # what it will be killed for
    time.sleep(seconds - plays_s)
    kiosk.stop()
    channels, gaps = recorded(kiosk.root)
    assert gaps["bot"] == []
    assert {gap["reason"] for gap in gaps["user"]} <= {"stall", "absent"}
    for gap, following in itertools.pairwise(gaps["user"]):
        assert gap["start_frame"] + gap["frames"] == following["start_frame"]
    start = gaps["user"][0]["start_frame"]
    stop = gaps["user"][-1]["start_frame"] + gaps["user"][-1]["frames"]
    assert not channels[0, start:stop].any()
    assert (stop - start) / RATE > 1.4  # so long it was waited for
    heard = kiosk.heard["user"]
    begins = find(heard[:RATE], channels[0])
    before = channels[0, begins:start]
    assert len(before) > (plays_s - 2 * STARTS_S) * RATE
    assert min(correlations(heard, before)) > LEAST_WHILE_BENDING
    after = channels[0, stop + RATE : stop + 3 * RATE]
    came_back = find(after, heard)
    assert came_back / RATE == pytest.approx((stop + RATE - begins) / RATE, abs=0.05)
    assert min(correlations(heard[came_back:], after)) > LEAST_WHILE_BENDING

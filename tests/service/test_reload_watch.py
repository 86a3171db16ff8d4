"""Another configuration for what looks after the devices, their audio and the storage root."""

from dataclasses import replace
from functools import partial

import pytest

from edgerec.capture.devices import watch
from edgerec.capture.devices.device_events import CardWatch
from edgerec.capture.devices.device_verdict import Findings
from edgerec.config import RetentionConfig, TrackConfig
from edgerec.health.signal_quality import PATIENCE
from edgerec.store.retention.cleanup import SWEEP_NS
from tests.rigs.fakes import S, device
from tests.rigs.made_recordings import chunks
from tests.rigs.recorder_rig import EagerSource, begun, reload
from tests.rigs.waiting import wait_for


class WatchedSource(EagerSource):
    """A mute device whose place another one may take."""

    def __init__(self, track, start_ns):
        super().__init__(device(track, start_ns=start_ns))
        self.findings = Findings()


@pytest.fixture
def opened():
    """Which sources were opened, in order."""
    return []


@pytest.fixture
def open_device(opened):
    def open_device(track, now_ns):
        opened.append(WatchedSource(track, now_ns))
        return opened[-1]

    return open_device


def test_another_quota_holds_from_the_next_look_at_everything_on(running):
    rig = running(chunk_seconds=1.0)
    begun(rig)
    wait_for(lambda: chunks(rig.published))
    fetched = chunks(rig.published)[0].path
    fetched.with_suffix(".ack").touch()
    reload(rig, retention=RetentionConfig(max_bytes=1))
    rig.let_pass(SWEEP_NS / S)
    wait_for(lambda: not fetched.exists())


def test_a_mute_device_in_the_place_of_a_feed_is_a_fault(running):
    rig = running(user="feed")
    begun(rig)
    tracks = rig.recorder.config.tracks
    reload(rig, tracks=replace(tracks, user=TrackConfig(source="simulated")))

    def faults():
        return [one.code for one in rig.recorder.status().reasons if one.track == "user"]

    patience_s = PATIENCE["silent"]["user"].raise_s
    for _ in range(round(patience_s / 5.0) - 1):
        rig.let_pass(5.0)
        assert faults() == []
    rig.let_pass(10.0)
    assert faults() == ["silent"]


def test_a_card_that_comes_is_told_to_a_device_that_is_configured_meanwhile(
    running, opened, monkeypatch, tmp_path
):
    card = tmp_path / "pcmC1D0c"
    card.touch()
    monkeypatch.setattr(watch, "CardWatch", partial(CardWatch, tmp_path))
    rig = running()
    tracks = rig.recorder.config.tracks
    reload(rig, tracks=replace(tracks, user=TrackConfig(device="alsa:Mic,0")))
    mic = opened[-1]

    def is_told():
        card.chmod(0o600)  # again and again: at first nobody may look
        return mic.findings.take_appearance()

    wait_for(is_told)

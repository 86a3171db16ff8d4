"""What fails in a replay is said as in a live recording, and no success; what is whole is kept."""

import errno
import logging
import os
from dataclasses import replace

import numpy as np
import pytest

from edgerec.config.schema import DetectorConfig, TurnsConfig
from edgerec.engine.replay import replay
from edgerec.engine.replay_input import ReplayError
from edgerec.simulation.device import DeviceModel
from edgerec.simulation.kiosk import VirtualKiosk
from edgerec.store.archive.verify import verify
from edgerec.store.disk import StoreError
from edgerec.turns.detectors import Detectors
from tests.rigs.alignment import noise
from tests.rigs.fakes import config, write_traces
from tests.rigs.made_recordings import audio, chunks
from tests.rigs.replay_rig import RATE, replayed, write_wav

SECONDS = 12


@pytest.fixture
def inputs(tmp_path):
    return {
        "user": write_wav(tmp_path / "u.wav", noise(SECONDS * RATE, RATE, 1), RATE),
        "bot": write_wav(tmp_path / "b.wav", noise(SECONDS * RATE, RATE, 2), RATE),
    }


class Disk:
    """A disk that takes nothing while it is told not to."""

    def __init__(self, monkeypatch):
        self.works = True
        for name in ("open", "write", "pwrite", "fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self.taken_or_not(getattr(os, name)))

    def taken_or_not(self, real):
        def call(*arguments, **how):
            if not self.works:
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments, **how)

        return call


def test_turns_that_are_no_longer_found_are_no_success_and_cost_no_audio(
    tmp_path, inputs, monkeypatch, caplog
):
    def push(self, span):
        raise RuntimeError("the model is broken")

    whole = chunks(replayed(tmp_path / "whole", inputs, chunk_seconds=4))
    monkeypatch.setattr(Detectors, "push", push)
    settings = replace(
        config(tmp_path / "root", chunk_seconds=4, enable_turn_audio=True),
        turns=TurnsConfig(detector=DetectorConfig(user="level")),
    )
    published = []
    with pytest.raises(ReplayError, match=r"not all turns were found: .*the model is broken"):
        replay(settings, inputs, on_published=published.append)
    assert "turns are no longer found in this session" in caplog.text
    assert [audio(one.path) for one in chunks(published)] == [audio(one.path) for one in whole]
    assert verify(tmp_path / "root").ok


def test_a_disk_that_fails_for_a_moment_ends_the_replay_and_costs_nothing_before(
    tmp_path, inputs, monkeypatch, caplog
):
    disk = Disk(monkeypatch)

    def fail_at(seconds):
        disk.works = seconds < 6 or "disk error" in caplog.text

    published = []
    with pytest.raises(ReplayError, match="the rest of the input is left out, the disk failed: "):
        replay(
            config(tmp_path / "root", chunk_seconds=4),
            inputs,
            on_published=published.append,
            on_progress=fail_at,
        )
    assert "the disk works again" in caplog.text
    assert verify(tmp_path / "root").ok
    whole = chunks(replayed(tmp_path / "whole", inputs))
    held = b"".join(audio(one.path) for one in chunks(published))
    assert 6 * RATE <= len(held) // 4 <= 8 * RATE
    # The replay ends between one track's block of 0.1 s and the other's.
    assert audio(whole[0].path).startswith(held[: -RATE // 5 * 4])


def test_a_disk_that_stays_broken_ends_the_replay_with_its_error(tmp_path, inputs, monkeypatch):
    disk = Disk(monkeypatch)

    def fail_at(seconds):
        disk.works = seconds < 6

    published, done = [], []
    with pytest.raises(StoreError, match="Input/output error"):
        replay(
            config(tmp_path / "root", chunk_seconds=4),
            inputs,
            on_published=published.append,
            on_progress=lambda seconds: (done.append(seconds), fail_at(seconds)),
        )
    assert [one.frames for one in chunks(published)] == [4 * RATE]
    assert done[-1] < 9  # and the rest of the input was not read into the void


def test_signals_that_are_wrong_are_logged(tmp_path, caplog):
    seconds = 90  # a status warns of a muted microphone after a minute
    inputs = {
        "user": write_wav(tmp_path / "u.wav", np.zeros(seconds * RATE), RATE),
        "bot": write_wav(tmp_path / "b.wav", noise(seconds * RATE, RATE, 2), RATE),
    }
    with caplog.at_level(logging.WARNING):
        replayed(tmp_path / "root", inputs)
    said = [line for line in caplog.messages if line.startswith("signal is wrong")]
    assert said == ["signal is wrong track=user code=silent"]


def test_a_replay_is_the_same_each_time(tmp_path, inputs):
    once, again = (
        [audio(one.path) for one in chunks(replayed(tmp_path / name, inputs, chunk_seconds=4))]
        for name in ("once", "again")
    )
    assert once == again


def test_inputs_without_a_clock_in_common_are_refused_before_anything_is_made(tmp_path, inputs):
    kiosk = VirtualKiosk(DeviceModel(), DeviceModel(starts_s=5.0), seed=1)
    bot = write_traces(tmp_path, kiosk, 8.0)["bot"]
    with pytest.raises(ReplayError, match="no clock in common"):
        replayed(tmp_path / "root", {"user": inputs["user"], "bot": bot})
    assert not (tmp_path / "root").exists()

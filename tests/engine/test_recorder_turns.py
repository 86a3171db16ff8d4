"""Turns that an application marks, in a recorder that runs."""

import numpy as np
import pytest

from edgerec.engine.engine import Engine
from edgerec.simulation.conversation import tone
from edgerec.store.archive.verify import verify
from edgerec.wire.messages import RefusedError
from tests.rigs.fakes import S, config, device
from tests.rigs.made_recordings import audio, sidecar
from tests.rigs.recorder_rig import EagerSource, RunningClock, handed
from tests.rigs.waiting import wait_for

RATE = 16_000


def test_marked_turns_of_a_running_session_are_files_with_the_samples_of_its_chunk(
    running, sources
):
    sources["user"] = EagerSource(device("user", world=tone(440.0)))
    rig = running(enable_turn_audio=True)
    rig.let_pass(4)
    start = rig.recorder.mark("user", 0, speaking=True)
    rig.let_pass(2)
    stop = rig.recorder.mark("user", rig.clock.read().monotonic_ns - S // 2, speaking=False)
    assert stop - start == 1.5 * RATE
    rig.let_pass(3)
    (chunk,) = rig.finish()
    (turn,) = (one for one in rig.published if one.what == "turn-user" and is_marked(one))
    described = sidecar(turn)["turn"]
    assert (described["speech_start_frame"], described["by"]) == (start, "mark")
    whole = np.frombuffer(audio(chunk.path), "<i2").reshape(-1, 2)
    span = slice(turn.start_frame, turn.start_frame + turn.frames)
    assert np.array_equal(np.frombuffer(audio(turn.path), "<i2"), whole[span, 0])
    assert verify(rig.root).findings == ()


def is_marked(turn):
    return sidecar(turn)["turn"]["by"] == "mark"


def test_a_running_session_can_hold_what_is_marked_and_silence_behind_it(running, sources):
    sources["user"] = EagerSource(device("user", world=tone(440.0)))
    rig = running(user_continuous_stream=False)
    rig.let_pass(4)
    wait_for_decided(rig.recorder, 1)
    start = rig.recorder.mark("user", 0, speaking=True)
    rig.let_pass(2)
    rig.recorder.mark("user", rig.clock.read().monotonic_ns - S // 2, speaking=False)
    stop = start + round(1.5 * RATE + 0.8 * RATE)  # with the hangover
    wait_for_decided(rig.recorder, 3)
    rig.let_pass(3)
    (chunk,) = rig.finish()
    assert rig.published[-1].kind == "session"
    assert {one.kind for one in rig.published} == {"chunk", "session"}
    user = np.frombuffer(audio(chunk.path), "<i2").reshape(-1, 2)[:, 0]
    assert np.abs(user[start:stop]).max() > 1_000
    assert np.count_nonzero(user[start:stop]) > 0.9 * (stop - start)
    assert len(user) > stop + RATE
    assert not user[stop:].any()
    assert verify(rig.root).findings == ()


def wait_for_decided(recorder, seconds):
    """Wait until the turn thread knows so much of the session, so that nobody runs away from it."""
    wait_for(lambda: recorder._parts.sessions.timeline.gate.decided >= seconds * RATE)


def test_marks_are_refused_where_turns_are_not_recorded(tmp_path, sources):
    with Engine(
        config(tmp_path / "root"), clock=RunningClock(), length_s=1.0, around=handed(sources)
    ) as recorder:
        with pytest.raises(RefusedError) as refused:
            recorder.mark("user", 0, speaking=True)
        assert refused.value.code == "no_turns"

"""A conversation in a room with echo, through the whole recorder: its turns as files."""

import wave
from dataclasses import replace

import pytest

from edgerec.config.schema import DetectorConfig, TurnsConfig
from edgerec.engine.replay import replay
from edgerec.store.archive.verify import verify
from tests.rigs.fakes import config
from tests.rigs.made_recordings import sidecar
from tests.turns.material import RATE_HZ, Speech
from tests.turns.measure import CLIPS
from tests.turns.mixtures import SCENE_S, conversing


@pytest.mark.parametrize("detector", ["earshot", "silero"])
def test_turns_of_a_conversation_become_files_that_tell_of_its_echo(tmp_path, detector):
    [scene] = conversing(Speech(CLIPS), share=0.5, minutes=SCENE_S / 60, seed=6)
    inputs = {"user": tmp_path / "user.wav", "bot": tmp_path / "bot.wav"}
    for path, pcm in zip(inputs.values(), scene.pcm, strict=True):
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, RATE_HZ, 0, "NONE", ""))
            file.writeframes(pcm.tobytes())
    root = tmp_path / "root"
    published = []
    settings = replace(
        config(root, chunk_seconds=60, enable_turn_audio=True),
        turns=TurnsConfig(detector=DetectorConfig(user=detector)),
    )
    replay(settings, inputs, on_published=published.append)
    assert verify(root).ok
    turns = [sidecar(one) for one in published if one.kind == "turn"]
    for speaker, spoken in (("user", scene.user), ("bot", scene.bot)):
        heard = [
            (turn["turn"]["speech_start_frame"], turn["turn"]["speech_end_frame"])
            for turn in turns
            if turn["turn"]["speaker"] == speaker
        ]
        found = [
            any(start / RATE_HZ < s.stop and s.start < stop / RATE_HZ for start, stop in heard)
            for s in spoken
        ]
        assert len(spoken) > 5
        assert sum(found) >= len(found) - 1
        # A user is found while the room is still learnt, a bot never; the pauses may split some.
        assert len(heard) <= len(spoken) + 4
    last = [sidecar(one) for one in published if one.kind == "chunk"][-1]["tracks"]["user"]
    assert last["echo_delay_ms"] == pytest.approx(scene.room.delay_s * 1e3, abs=2)
    assert last["echo_return_db"] == pytest.approx(scene.room.return_db, abs=2)

"""What a feed refuses is said with its length: in an event, the status and the sidecars."""

import pytest

from edgerec.api.feeding import Feeding
from edgerec.audio import AudioRefused, GapReason
from edgerec.feeds.connection import FeedError
from tests.rigs.fakes import START_NS, S
from tests.rigs.feed_rig import RATE, feeding, holes, level


def refusing():
    kiosk, app = feeding()
    told = []
    kiosk.bot.notify = lambda event: told.append(event) if isinstance(event, AudioRefused) else None
    return kiosk, app, told


def test_a_refused_block_and_what_was_read_with_it_are_counted():
    kiosk, app, told = refusing()
    app.open()
    app.push(level(0.5), START_NS + S)
    kiosk.run_to(1.5)
    app.push(level(0.3), START_NS + 100 * S)  # from the future
    app.push(level(0.2), START_NS + 2 * S)
    kiosk.run_to(3.0)
    assert [(one.track, one.frames, one.reason) for one in told] == [
        ("bot", RATE // 2, "bad_stamp")
    ]
    assert kiosk.timeline.reports["bot"].refused_frames == RATE // 2
    assert GapReason.SOURCE in {reason for _, _, reason in holes(kiosk.stop()[1])}


def test_refused_frames_are_counted_at_the_recording_s_rate():
    kiosk, app, told = refusing()
    app.open(sample_rate=48_000)
    app.push(level(0.5, 48_000), START_NS + 100 * S)
    kiosk.run_to(3.0)
    assert [one.frames for one in told] == [24_000]
    assert kiosk.timeline.reports["bot"].refused_frames == RATE // 2


def test_what_is_not_audio_is_refused_with_no_frames():
    kiosk, app, told = refusing()
    app.open()
    app.push(level(0.1))
    app.send_all(b"rubbish" * 20)
    kiosk.run_to(3.0)
    assert [(one.frames, one.reason) for one in told] == [(0, "malformed")]
    assert kiosk.timeline.reports["bot"].refused_frames == 0


def test_two_refusals_after_one_utterance_are_both_counted():
    kiosk, app, told = refusing()
    app.close()
    kiosk.step()
    kiosk.step()
    program = Feeding(kiosk.bot, "program")
    program.push(level(2.0), RATE, 1, None)
    for _ in range(2):
        with pytest.raises(FeedError):
            program.push(level(0.5), RATE, 1, 1)
    kiosk.run_to(5.0)
    assert [one.frames for one in told] == [RATE // 2, RATE // 2]
    assert kiosk.timeline.reports["bot"].refused_frames == RATE

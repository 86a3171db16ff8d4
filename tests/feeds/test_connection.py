"""What an application that feeds a track is told, and what it can do wrong."""

import contextlib
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import GapReason
from edgerec.feeds.connection import FeedError
from edgerec.feeds.playback import CONTINUE_NS
from edgerec.feeds.source import FeedSource
from edgerec.wire.blocks import MAX_BLOCK_BYTES
from tests.rigs.fakes import START_NS, FakeClock, S, device
from tests.rigs.feed_rig import RATE, Application, Kiosk, feeding, holes, level, sounding


def test_the_answer_comes_first_and_the_account_last():
    kiosk, tts = feeding()
    tts.open()
    tts.push(level(2.0))
    kiosk.step()
    assert tts.answers() == ([{"id": 1, "ok": True, "result": {}}], False)
    tts.finish()
    kiosk.step()
    (account,), closed = tts.answers()
    assert closed
    assert account == {
        "id": None,
        "ok": True,
        "result": {"frames": 2 * RATE, "plays_seconds": 2.0},
    }


GARBAGE = {
    "no magic": b"garbage, and much more of it than a block's header is long" * 10,
    "no JSON": b"{nonsense}\n",
    "odd length": b"\0",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_ends_the_stream_with_a_clear_error_and_a_counted_gap(garbage, caplog):
    kiosk, tts = feeding(user=device("user", seconds=60.0))
    tts.open()
    tts.push(level(1.0))
    tts.send_all(garbage)
    kiosk.step()
    tts.finish()
    kiosk.run_to(5.0)
    answers, closed = tts.answers()
    assert closed
    assert answers[-1]["ok"] is False
    assert answers[-1]["error"]["code"] in ("malformed", "cut_off")
    assert "byte" in answers[-1]["error"]["message"]
    assert "feed refused track=bot" in caplog.text
    tts = Application(kiosk.bot)
    tts.open()
    tts.push(level(1.0))
    again = kiosk.frame(kiosk.now_s)
    kiosk.step()
    kiosk.run_to(9.0)
    pcm, reasons = kiosk.stop()
    (_, first_stop), (second_start, _) = sounding(pcm)
    assert [stop - start for start, stop in sounding(pcm)] == [RATE] * 2
    ((start, frames, reason),) = holes(reasons)
    assert (start, reason) == (first_stop, GapReason.SOURCE)
    assert start + frames == second_start
    assert abs(second_start - again) <= 1
    assert holes(kiosk.recorded("user")[1][2:]) == []


def test_garbage_is_a_counted_gap_however_soon_good_audio_follows():
    kiosk, tts = feeding()
    tts.open()
    tts.push(level(1.0))
    tts.send_all(GARBAGE["no magic"])
    kiosk.step()
    tts = Application(kiosk.bot)
    tts.open()
    tts.push(level(1.0))
    kiosk.run_to(6.0)
    pcm, reasons = kiosk.stop()
    assert [stop - start for start, stop in sounding(pcm)] == [RATE] * 2
    ((_, frames, reason),) = holes(reasons)
    assert (frames, reason) == (CONTINUE_NS * RATE // S, GapReason.SOURCE)


def test_garbage_at_the_very_end_of_a_session_is_a_gap_up_to_its_end():
    kiosk, tts = feeding()
    kiosk.run_to(3.0)
    tts.send_all(GARBAGE["no magic"])
    kiosk.run_to(3.2)
    pcm, reasons = kiosk.stop()
    ((start, frames, reason),) = holes(reasons)
    assert reason is GapReason.SOURCE
    assert start + frames == len(pcm)


@pytest.mark.parametrize("cut", [1, 41, 100])
def test_a_connection_that_ends_inside_a_block_is_told_so(cut):
    kiosk, tts = feeding()
    tts.open()
    tts.send_all(tts.block(level(0.1))[:-cut])
    tts.finish()
    kiosk.step()
    answers, closed = tts.answers()
    assert closed
    assert answers[-1]["error"]["code"] == "cut_off"


def test_a_connection_that_sends_nothing_is_no_fault():
    kiosk, tts = feeding()
    tts.finish()
    kiosk.run_to(2.0)
    answers, closed = tts.answers()
    assert closed
    assert answers[-1]["result"]["frames"] == 0
    assert holes(kiosk.stop()[1]) == []


def test_an_application_that_vanishes_leaves_what_it_sent():
    kiosk, tts = feeding()
    kiosk.step()  # it is answered, and goes without having read that: a reset
    tts.open()
    tts.push(level(1.0))
    tts.close()
    kiosk.run_to(4.0)
    pcm, reasons = kiosk.stop()
    assert [stop - start for start, stop in sounding(pcm)] == [RATE]
    assert holes(reasons) == []


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (lambda tts: tts.open(track="user"), "wrong_track"),
        (lambda tts: [tts.open(), tts.open()], "malformed"),
        (
            lambda tts: [tts.open(), tts.push(level(0.1)), tts.push(level(0.1), START_NS + S)],
            "malformed",
        ),
        (
            lambda tts: [
                tts.open(),
                tts.push(level(1.0)),
                tts.open(),
                tts.push(level(0.1), START_NS + S),
            ],
            "busy",
        ),
    ],
    ids=["wrong track", "header on header", "stamped and not", "live into a queue"],
)
def test_what_does_not_go_together_is_refused(wrong, code):
    kiosk, tts = feeding()
    wrong(tts)
    kiosk.step()
    answers, closed = tts.answers()
    assert closed
    assert answers[-1]["error"]["code"] == code
    kiosk.run_to(3.0)
    assert {reason for _, _, reason in holes(kiosk.stop()[1])} == {GapReason.SOURCE}


def test_a_second_application_is_refused_by_name_until_the_first_has_ended():
    kiosk, first = feeding()
    with pytest.raises(FeedError, match="another application feeds the bot track") as refused:
        Application(kiosk.bot)
    assert refused.value.code == "busy"
    first.finish()
    kiosk.step()
    Application(kiosk.bot)


def test_an_application_is_told_when_the_recording_ends():
    kiosk, tts = feeding()
    tts.open()
    kiosk.stop()
    answers, closed = tts.answers()
    assert closed
    assert answers[-1]["error"]["code"] == "stopped"
    with pytest.raises(FeedError, match="ended"):
        Application(kiosk.bot)


def test_an_application_that_was_just_seated_is_told_as_well():
    source = FeedSource("bot", FakeClock())
    tts = Application(source)
    source.close()
    answers, closed = tts.answers()
    assert closed
    assert [answer["ok"] for answer in answers] == [True, False]


def test_the_state_says_whether_somebody_is_connected_or_playing():
    kiosk = Kiosk()
    kiosk.run_to(1.0)
    assert kiosk.bot.state.name == "idle"
    tts = Application(kiosk.bot)
    kiosk.step()
    assert (kiosk.bot.state.name, kiosk.bot.state.since_ns) == ("running", START_NS + S)
    tts.open()
    tts.push(level(2.0))
    tts.finish()
    kiosk.run_to(2.5)
    assert (kiosk.bot.state.name, kiosk.bot.state.detail) == ("running", "nobody is connected")
    assert kiosk.bot.state.since_ns == START_NS + S
    kiosk.run_to(4.0)
    assert kiosk.bot.state.name == "idle"


def test_applications_that_come_all_at_once_get_one_seat():
    source = FeedSource("bot", FakeClock())
    seated, refused = [], []

    def come():
        try:
            seated.append(Application(source))
        except FeedError:
            refused.append(1)

    threads = [threading.Thread(target=come) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(seated), len(refused)) == (1, 19)
    source.close()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=200), max_size=5), st.booleans())
def test_no_bytes_can_raise_into_the_recorder(data, opened):
    kiosk, application = feeding()
    if opened:
        application.open()
        application.push(level(0.1))
    with contextlib.suppress(OSError):  # it was cut off
        for some in data:
            application.send(some)
            kiosk.step()
        application.finish()
    kiosk.run_to(2.0)
    assert application.answers()[1]
    kiosk.stop()


def test_the_largest_block_there_is_can_be_pushed():
    source = FeedSource("bot", FakeClock())
    tts = Application(source, rate=96_000, channels=2)
    tts.open()
    data, sent = tts.block(bytes(MAX_BLOCK_BYTES)), 0
    while sent < len(data):
        sent += tts.send(data[sent:])
        source.deliver(START_NS)
    tts.finish()
    source.deliver(START_NS)
    assert tts.answers()[0][-1]["result"]["frames"] == MAX_BLOCK_BYTES // 4
    source.close()

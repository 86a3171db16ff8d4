"""When pushed audio plays: pure numbers, no clock and no socket."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerec.audio import Block, BlockFlags, GapReason, StreamEnded, StreamHeader
from edgerec.feeds.playback import (
    CONTINUE_NS,
    PAUSE,
    PIECE_MS,
    QUEUE_BYTES,
    QUEUE_NS,
    UTTERANCE_BYTES,
    Loudspeaker,
)

S = 1_000_000_000
MS = 1_000_000
RATE = 24_000
HEADER = StreamHeader(RATE, 1, "bot", "feed:tts", "monotonic_raw")
OTHER = StreamHeader(44_100, 2, "bot", "feed:tts", "monotonic_raw")
FAULT = StreamEnded(GapReason.SOURCE, "malformed")


def pcm(seconds, header=HEADER):
    return bytes(2 * header.channels * round(seconds * header.sample_rate))


def spans(deliveries):
    """Return what was played as [(start_ns, end_ns, rate, ending), ...], an utterance each."""
    found, header, start_ns, end_ns = [], None, 0, 0
    for delivery in deliveries:
        match delivery:
            case StreamHeader():
                assert header is None
                header, start_ns = delivery, None
            case Block():
                assert header is not None
                begun_ns = delivery.arrived_ns - delivery.frames * S / header.sample_rate
                if start_ns is None:
                    assert delivery.flags == BlockFlags.NEW_STREAM
                    start_ns, counted = round(begun_ns), 0
                assert delivery.first_frame == counted
                assert delivery.frames <= header.sample_rate * PIECE_MS // 1000
                counted += delivery.frames
                end_ns = delivery.arrived_ns
                assert abs(start_ns + counted * S / header.sample_rate - end_ns) <= 2
            case StreamEnded():
                rate = header.sample_rate if header else None
                found.append((start_ns, end_ns, rate, delivery))
                header = None
    return found


def play_to(speaker, now_ns, end_ns, step_ns=50 * MS):
    """Play in steps; nothing leaves before it was played, nor later than it has to."""
    played = []
    while now_ns < end_ns:
        now_ns = min(now_ns + step_ns, end_ns)
        for delivery in speaker.play(now_ns):
            if isinstance(delivery, Block):
                # What goes on where the queue ended was due up to 200 ms before it came.
                assert now_ns - step_ns - CONTINUE_NS < delivery.arrived_ns <= now_ns
            played.append(delivery)
    return played


def test_audio_pushed_at_once_plays_in_real_time_from_the_instant_it_came():
    speaker = Loudspeaker()
    speaker.push(HEADER, pcm(5.0), 100 * S)
    assert spans(play_to(speaker, 100 * S, 106 * S)) == [(100 * S, 105 * S, RATE, PAUSE)]
    assert not speaker.playing


def test_what_comes_within_200_ms_of_the_end_goes_on_where_it_ended():
    speaker = Loudspeaker()
    speaker.push(HEADER, pcm(1.0), 0)
    played = play_to(speaker, 0, S + CONTINUE_NS)
    speaker.push(HEADER, pcm(1.0), S + CONTINUE_NS)
    played += play_to(speaker, S + CONTINUE_NS, 3 * S)
    assert spans(played) == [(0, 2 * S, RATE, PAUSE)]


def test_what_comes_later_is_a_new_utterance_at_the_instant_it_came():
    speaker = Loudspeaker()
    speaker.push(HEADER, pcm(1.0), 0)
    later_ns = S + CONTINUE_NS + 1
    played = speaker.play(later_ns)
    speaker.push(HEADER, pcm(1.0), later_ns)
    played += play_to(speaker, later_ns, 4 * S)
    assert spans(played) == [(0, S, RATE, PAUSE), (later_ns, later_ns + S, RATE, PAUSE)]


def test_what_comes_later_is_a_new_utterance_also_if_nobody_looked_in_between():
    speaker = Loudspeaker()
    speaker.push(HEADER, pcm(1.0), 0)
    speaker.push(HEADER, pcm(1.0), 2 * S)
    assert [start for start, *_ in spans(speaker.play(9 * S))] == [0, 2 * S]


def test_a_stall_moves_what_follows_until_the_next_pause_as_is_documented():
    speaker = Loudspeaker()
    stall_ns, pieces, at_ns, played = 500 * MS, 50, 0, []
    for piece in range(pieces):  # 20 ms each, in real time but for one stall
        at_ns = piece * 20 * MS + (stall_ns if piece == 25 else 0)
        at_ns = max(at_ns, 25 * 20 * MS + stall_ns) if piece > 25 else at_ns
        played += speaker.play(at_ns)
        speaker.push(HEADER, pcm(0.02), at_ns)
    played += play_to(speaker, at_ns, at_ns + 2 * S)
    (_, before, *_), (start, end, *_) = spans(played)
    assert (before, start, end) == (S // 2, S // 2 + stall_ns, S + stall_ns)


def test_another_format_begins_exactly_where_the_one_before_ended():
    speaker = Loudspeaker()
    speaker.push(HEADER, pcm(0.3), 0)
    speaker.push(OTHER, pcm(0.7, OTHER), 0)
    speaker.push(HEADER, pcm(0.5), 100 * MS)
    assert spans(play_to(speaker, 0, 2 * S)) == [
        (0, 300 * MS, RATE, PAUSE),
        (300 * MS, S, OTHER.sample_rate, PAUSE),
        (S, 1500 * MS, RATE, PAUSE),
    ]


def test_audio_that_broke_off_is_followed_by_a_hole_however_soon_more_comes():
    speaker = Loudspeaker()
    speaker.push(HEADER, pcm(1.0), 0)
    speaker.break_off(FAULT, 500 * MS)
    speaker.push(HEADER, pcm(1.0), 600 * MS)
    assert spans(play_to(speaker, 0, 4 * S)) == [
        (0, S, RATE, FAULT),
        (S + CONTINUE_NS, 2 * S + CONTINUE_NS, RATE, PAUSE),
    ]


def test_audio_that_broke_off_is_told_of_even_if_nothing_was_queued():
    speaker = Loudspeaker()
    speaker.break_off(FAULT, 0)
    assert speaker.play(0) == [FAULT]
    speaker.push(HEADER, pcm(1.0), 1)
    assert spans(play_to(speaker, 1, 3 * S))[0][0] == CONTINUE_NS


def test_the_queue_is_full_when_it_plays_for_half_a_minute():
    speaker = Loudspeaker()
    speaker.push(HEADER, pcm(QUEUE_NS / S), 0)
    assert not speaker.full(0)
    speaker.push(HEADER, pcm(0.1), 0)
    assert speaker.full(0)
    assert not speaker.full(100 * MS)


def test_the_queue_is_full_of_bytes_too_and_empties_as_it_plays():
    speaker = Loudspeaker()
    wide = StreamHeader(384_000, 64, "bot", "wide", "monotonic_raw")
    while not speaker.full(0):
        speaker.push(wide, pcm(0.01, wide), 0)
    assert speaker.queued_ns(0) < S
    speaker.play(100 * MS)
    assert not speaker.full(100 * MS)


def test_a_queue_of_tiny_utterances_is_full_before_they_take_memory():
    speaker = Loudspeaker()
    pushed = 0
    while not speaker.full(0):
        speaker.push((HEADER, OTHER)[pushed % 2], bytes(4), 0)
        pushed += 1
    assert pushed <= QUEUE_BYTES / UTTERANCE_BYTES + 1
    speaker.play(S)
    assert not speaker.full(S)
    speaker.play(2 * S)
    assert not speaker.playing


PUSHES = st.lists(
    st.tuples(st.integers(0, 2_000), st.integers(1, 50_000), st.sampled_from([HEADER, OTHER])),
    max_size=30,
)


@settings(deadline=None)
@given(PUSHES, st.integers(1, 400))
def test_every_frame_that_was_pushed_plays_once_in_order_and_never_early(pushes, step_ms):
    speaker = Loudspeaker()
    now_ns, number, sent, played = 10 * S, 0, b"", []
    for wait_ms, frames, header in pushes:
        played += play_to(speaker, now_ns, now_ns + wait_ms * MS, step_ms * MS)
        now_ns += wait_ms * MS
        values = np.arange(number, number + frames * header.channels)
        data = values.astype("<u2").tobytes()
        number += len(values)
        speaker.push(header, data, now_ns)
        sent += data
    now_ns += speaker.queued_ns(now_ns)
    played += speaker.play(now_ns + CONTINUE_NS + 1)
    assert b"".join(d.pcm for d in played if isinstance(d, Block)) == sent
    ends = [(start, end) for start, end, *_ in spans(played)]
    assert all(a[1] <= b[0] + 1 for a, b in itertools.pairwise(ends))
    assert not speaker.playing

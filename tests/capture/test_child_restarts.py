"""When a capture child is started again, and what is told of the one before."""

import os

from edgerec.audio import Block, DeviceFrame, GapReason, StreamEnded
from edgerec.capture.child import ChildSource
from tests.rigs.fake_child import HEADER, LIMITS, await_exit, block
from tests.rigs.fakes import S


def test_a_command_that_cannot_be_started_is_a_state_too():
    source = ChildSource("user", ["/nonexistent/capture"], {}, now_ns=0)
    (ended,) = source.deliver(0)
    assert ended.reason is GapReason.ABSENT
    assert "/nonexistent/capture" in ended.detail
    assert source.deliver(LIMITS.first_retry_ns) == []
    assert source.state.restarts == 1


def test_failures_are_retried_after_longer_and_longer_waits_up_to_a_limit(child):
    now_ns, waits_ns = 0, []
    for _ in range(6):
        child.fail(now_ns)
        started = child.source.state.restarts
        failed_ns = now_ns
        while child.source.state.restarts == started:
            now_ns += S // 8
            assert child.source.deliver(now_ns) == []
        child.pipe = os.open(child.fifo, os.O_WRONLY)
        child.end()
        child.source.deliver(now_ns)
        waits_ns.append(now_ns - failed_ns)
        now_ns += LIMITS.last_retry_ns
    assert waits_ns[0] == LIMITS.first_retry_ns
    assert waits_ns == sorted(waits_ns)
    assert waits_ns[-1] == LIMITS.last_retry_ns


def test_a_stream_that_was_steady_is_retried_quickly_again_and_one_that_was_not_is_not(child):
    now_ns = 0
    for _ in range(5):
        child.fail(now_ns)
        now_ns += LIMITS.last_retry_ns
    child.start(now_ns)
    for lived_ns, wait_ns in (
        (LIMITS.steady_ns - S, LIMITS.last_retry_ns),
        (LIMITS.steady_ns, LIMITS.first_retry_ns),
    ):
        child.write(HEADER, block())
        child.read(now_ns, 2)
        child.write(block(4_800))
        child.end()
        now_ns += lived_ns
        child.read(now_ns, 2)
        restarts = child.source.state.restarts
        child.source.deliver(now_ns + wait_ns - 1)
        assert child.source.state.restarts == restarts
        now_ns += wait_ns
        child.start(now_ns)
        assert child.source.state.restarts == restarts + 1


def test_a_device_that_stays_absent_is_told_once_until_there_is_news(child):
    child.say('{"error": "no mic"}')
    assert len(child.fail(0)) == 1
    for retry in range(1, 4):
        assert child.fail(retry * LIMITS.last_retry_ns) == []
        assert child.source.state.restarts == retry
    assert child.source.state.since_ns == 0
    child.say('{"error": "mic is busy"}')
    (news,) = child.fail(4 * LIMITS.last_retry_ns)
    assert news.detail == "mic is busy"


def test_each_stream_that_ends_is_told_even_if_it_ends_as_the_one_before(child):
    for now_ns in (0, 10 * S):
        child.start(now_ns)
        child.write(HEADER, block())
        child.read(now_ns, 2)
        child.end()
        assert [type(ended) for ended in child.read(now_ns)] == [StreamEnded]


def test_a_restarted_child_has_the_time_to_open_that_the_first_one_had(child):
    child.start(0)
    child.write(HEADER, block())
    child.read(0, 2)
    child.end()
    child.read(0)
    again_ns = LIMITS.first_retry_ns
    child.start(again_ns)
    assert child.source.deliver(again_ns + LIMITS.start_ns) == []
    assert len(child.source.deliver(again_ns + LIMITS.start_ns + 1)) == 1
    await_exit(child.source)


def test_a_device_that_appears_is_tried_at_once(child):
    child.fail(0)
    child.fail(1 * S)
    assert child.source.deliver(1 * S + 1) == []
    assert child.source.fileno() is None
    child.source.findings.appeared()
    child.start(1 * S + 2)
    assert child.source.fileno() is not None


def test_a_device_that_appears_while_a_child_looks_for_it_is_tried_at_once_again(child):
    child.fail(0)
    child.start(1 * S)
    child.source.findings.appeared()
    child.source.deliver(1 * S)
    child.end()
    child.source.deliver(1 * S)
    child.source.deliver(1 * S + 1)
    assert child.source.state.restarts == 2


def test_a_device_that_appeared_and_can_t_be_opened_is_waited_for_like_any_other(child):
    child.fail(0)
    child.source.findings.appeared()
    child.fail(1)
    child.source.deliver(2)
    assert child.source.state.restarts == 1


def test_a_device_that_appears_beside_one_that_delivers_brings_no_haste(child):
    child.start(0)
    child.source.findings.appeared()
    child.write(HEADER, block())
    child.read(0, 2)
    child.end()
    child.read(0)
    assert child.source.deliver(1) == []
    assert child.source.fileno() is None


def until_its_end(child, hz, start_ns):
    """Deliver ten seconds of a device of a rate, or what it is given of them."""
    delivered = []
    for nth in range(10 * hz // 4_800):
        arrived_ns = start_ns + (nth + 1) * 4_800 * S // hz
        child.write(Block(DeviceFrame(4_800 * nth), 4_800, arrived_ns, 0, 0, bytes(9_600)))
        delivered += child.read(arrived_ns)
        if isinstance(delivered[-1], StreamEnded):
            return delivered, arrived_ns
    return delivered, arrived_ns


def test_a_device_whose_rate_is_another_than_it_says_is_opened_again_as_what_it_is(child):
    now_ns = 0
    for true_hz, taken_for_hz in ((44_100, 48_000), (48_000, 44_100)):
        child.start(now_ns)
        child.write(HEADER)
        assert child.read(now_ns)[0].sample_rate == taken_for_hz
        delivered, now_ns = until_its_end(child, true_hz, now_ns)
        assert delivered[-1] == StreamEnded(
            GapReason.SOURCE, f"mic delivers {true_hz} frames a second instead of {taken_for_hz}"
        )
        await_exit(child.source)
        child.source.deliver(now_ns)
        os.close(child.pipe)
        now_ns += S
    child.start(now_ns)
    child.write(HEADER)
    assert child.read(now_ns)[0].sample_rate == 48_000
    delivered, _ = until_its_end(child, 48_000, now_ns)
    assert {type(one) for one in delivered} == {Block}

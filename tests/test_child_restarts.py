"""When a capture child is started again, and what is told of the one before."""

import os

import pytest

from edgerec.audio import Block, DeviceFrame, GapReason, StreamEnded
from edgerec.capture.child import ChildSource
from tests.children import HEADER, LIMITS, Rig, await_exit, block
from tests.kiosk import S


@pytest.fixture
def rig(tmp_path):
    with Rig(tmp_path) as rig:
        yield rig


def test_a_command_that_cannot_be_started_is_a_state_too():
    source = ChildSource("user", ["/nonexistent/capture"], {}, now_ns=0)
    (ended,) = source.deliver(0)
    assert ended.reason is GapReason.ABSENT
    assert "/nonexistent/capture" in ended.detail
    assert source.deliver(LIMITS.first_retry_ns) == []
    assert source.state.restarts == 1


def test_failures_are_retried_after_longer_and_longer_waits_up_to_a_limit(rig):
    now_ns, waits_ns = 0, []
    for _ in range(6):
        rig.fail(now_ns)
        started = rig.source.state.restarts
        failed_ns = now_ns
        while rig.source.state.restarts == started:
            now_ns += S // 8
            assert rig.source.deliver(now_ns) == []
        rig.pipe = os.open(rig.fifo, os.O_WRONLY)
        rig.end()
        rig.source.deliver(now_ns)
        waits_ns.append(now_ns - failed_ns)
        now_ns += LIMITS.last_retry_ns
    assert waits_ns[0] == LIMITS.first_retry_ns
    assert waits_ns == sorted(waits_ns)
    assert waits_ns[-1] == LIMITS.last_retry_ns


def test_a_stream_that_was_steady_is_retried_quickly_again_and_one_that_was_not_is_not(rig):
    now_ns = 0
    for _ in range(5):
        rig.fail(now_ns)
        now_ns += LIMITS.last_retry_ns
    rig.start(now_ns)
    for lived_ns, wait_ns in (
        (LIMITS.steady_ns - S, LIMITS.last_retry_ns),
        (LIMITS.steady_ns, LIMITS.first_retry_ns),
    ):
        rig.write(HEADER, block())
        rig.read(now_ns, 2)
        rig.write(block(4_800))
        rig.end()
        now_ns += lived_ns
        rig.read(now_ns, 2)
        restarts = rig.source.state.restarts
        rig.source.deliver(now_ns + wait_ns - 1)
        assert rig.source.state.restarts == restarts
        now_ns += wait_ns
        rig.start(now_ns)
        assert rig.source.state.restarts == restarts + 1


def test_a_device_that_stays_absent_is_told_once_until_there_is_news(rig):
    rig.say('{"error": "no mic"}')
    assert len(rig.fail(0)) == 1
    for retry in range(1, 4):
        assert rig.fail(retry * LIMITS.last_retry_ns) == []
        assert rig.source.state.restarts == retry
    assert rig.source.state.since_ns == 0
    rig.say('{"error": "mic is busy"}')
    (news,) = rig.fail(4 * LIMITS.last_retry_ns)
    assert news.detail == "mic is busy"


def test_each_stream_that_ends_is_told_even_if_it_ends_as_the_one_before(rig):
    for now_ns in (0, 10 * S):
        rig.start(now_ns)
        rig.write(HEADER, block())
        rig.read(now_ns, 2)
        rig.end()
        assert [type(ended) for ended in rig.read(now_ns)] == [StreamEnded]


def test_a_restarted_child_has_the_time_to_open_that_the_first_one_had(rig):
    rig.start(0)
    rig.write(HEADER, block())
    rig.read(0, 2)
    rig.end()
    rig.read(0)
    again_ns = LIMITS.first_retry_ns
    rig.start(again_ns)
    assert rig.source.deliver(again_ns + LIMITS.start_ns) == []
    assert len(rig.source.deliver(again_ns + LIMITS.start_ns + 1)) == 1
    await_exit()


def test_a_device_that_appears_is_tried_at_once(rig):
    rig.fail(0)
    rig.fail(1 * S)
    assert rig.source.deliver(1 * S + 1) == []
    assert rig.source.fileno() is None
    rig.source.findings.appeared()
    rig.start(1 * S + 2)
    assert rig.source.fileno() is not None


def test_a_device_that_appears_while_a_child_looks_for_it_is_tried_at_once_again(rig):
    rig.fail(0)
    rig.start(1 * S)
    rig.source.findings.appeared()
    rig.source.deliver(1 * S)
    rig.end()
    rig.source.deliver(1 * S)
    rig.source.deliver(1 * S + 1)
    assert rig.source.state.restarts == 2


def test_a_device_that_appeared_and_can_t_be_opened_is_waited_for_like_any_other(rig):
    rig.fail(0)
    rig.source.findings.appeared()
    rig.fail(1)
    rig.source.deliver(2)
    assert rig.source.state.restarts == 1


def test_a_device_that_appears_beside_one_that_delivers_brings_no_haste(rig):
    rig.start(0)
    rig.source.findings.appeared()
    rig.write(HEADER, block())
    rig.read(0, 2)
    rig.end()
    rig.read(0)
    assert rig.source.deliver(1) == []
    assert rig.source.fileno() is None


def until_its_end(rig, hz, start_ns):
    """Deliver ten seconds of a device of a rate, or what it is given of them."""
    delivered = []
    for nth in range(10 * hz // 4_800):
        arrived_ns = start_ns + (nth + 1) * 4_800 * S // hz
        rig.write(Block(DeviceFrame(4_800 * nth), 4_800, arrived_ns, 0, 0, bytes(9_600)))
        delivered += rig.read(arrived_ns)
        if isinstance(delivered[-1], StreamEnded):
            return delivered, arrived_ns
    return delivered, arrived_ns


def test_a_device_whose_rate_is_another_than_it_says_is_opened_again_as_what_it_is(rig):
    now_ns = 0
    for true_hz, taken_for_hz in ((44_100, 48_000), (48_000, 44_100)):
        rig.start(now_ns)
        rig.write(HEADER)
        assert rig.read(now_ns)[0].sample_rate == taken_for_hz
        delivered, now_ns = until_its_end(rig, true_hz, now_ns)
        assert delivered[-1] == StreamEnded(
            GapReason.SOURCE, f"mic delivers {true_hz} frames a second in place of {taken_for_hz}"
        )
        await_exit()
        rig.source.deliver(now_ns)
        os.close(rig.pipe)
        now_ns += S
    rig.start(now_ns)
    rig.write(HEADER)
    assert rig.read(now_ns)[0].sample_rate == 48_000
    delivered, _ = until_its_end(rig, 48_000, now_ns)
    assert {type(one) for one in delivered} == {Block}

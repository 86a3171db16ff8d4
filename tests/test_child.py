"""Watching one capture child: real processes say what a test wants, time is what a test says."""

import errno
import fcntl
import itertools
import os
import select
import signal
import sys
import termios
from dataclasses import replace

import pytest

from edgerec.audio import Block, BlockFlags, DeviceFrame, GapReason, StreamEnded, StreamHeader
from edgerec.capture import process
from edgerec.capture.child import HOLD_NS, LULL_NS, ChildLimits, ChildSource
from edgerec.capture.findings import SUSPECT_NS
from edgerec.capture.wire import encode_block, encode_stream_header
from tests.waiting import wait_for

S = 1_000_000_000
LIMITS = ChildLimits()
HEADER = StreamHeader(48_000, 1, "user", "mic", "monotonic_raw")
PATIENCE_S = 20.0  # of real time, for a process to do what it was told


def block(first_frame=0, frames=4_800, arrived_ns=0):
    return Block(DeviceFrame(first_frame), frames, arrived_ns, 0, 0, bytes(2 * frames))


class Rig:
    """A source whose child writes what the test puts into a FIFO, then says and exits as told."""

    def __init__(self, folder, last_line="", status=3, env=None, limits=None, *, patient=False):
        self.fifo = folder / "fifo"
        self.last_line = folder / "last_line"
        os.mkfifo(self.fifo)
        self.say(last_line)
        script = f'cat "$0"; cat "$1" >&2; exit {status}'
        command = ["/bin/sh", "-c", script, str(self.fifo), str(self.last_line)]
        self.source = ChildSource(
            "user", command, env or {}, now_ns=0, limits=limits, patient=patient
        )
        self.pipe = None

    def say(self, last_line):
        self.last_line.write_text(last_line)

    def start(self, now_ns):
        """Have the source start a child, and connect to it."""
        deliveries = self.source.deliver(now_ns)
        self.pipe = os.open(self.fifo, os.O_WRONLY)
        return deliveries

    def write(self, *messages):
        for message in messages:
            if isinstance(message, bytes):
                os.write(self.pipe, message)
            elif isinstance(message, StreamHeader):
                os.write(self.pipe, encode_stream_header(message))
            else:
                os.write(self.pipe, encode_block(message))

    def read(self, now_ns, count=1):
        """Deliver until there are `count` deliveries."""
        deliveries = []
        while len(deliveries) < count:
            readable, _, _ = select.select([self.source.fileno()], [], [], PATIENCE_S)
            assert readable, f"nothing to read; so far {deliveries}"
            deliveries += self.source.deliver(now_ns)
        return deliveries

    def end(self):
        """Let the child run to its end."""
        os.close(self.pipe)
        self.pipe = None
        await_exit()

    def fail(self, now_ns):
        """Start a child that ends without a frame; return what is delivered of it."""
        deliveries = self.start(now_ns)
        self.end()
        return deliveries + self.source.deliver(now_ns)

    def close(self):
        if self.pipe is not None:
            os.close(self.pipe)
        self.source.close()


def await_exit():
    """Wait until a child has ended, and leave it to the source to reap it."""
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)


def wait_until_in_its_pipe(rig, *blocks):
    """Wait until the child has passed on all of these."""
    size = sum(len(encode_block(one)) for one in blocks)

    def is_there():
        held = fcntl.ioctl(rig.source.fileno(), termios.FIONREAD, bytes(4))
        return int.from_bytes(held, sys.byteorder) >= size

    wait_for(is_there)


def look_twice(source, now_ns):
    """Deliver as long after the last time as that may be: such a look alone tells no stall."""
    return source.deliver(now_ns) + source.deliver(now_ns)


def until_told(source, now_ns=0):
    """Deliver until there is something; return that."""
    while not (deliveries := source.deliver(now_ns)):
        if source.fileno() is not None:
            select.select([source.fileno()], [], [], PATIENCE_S)
        else:
            await_exit()
    return deliveries


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    rig.close()


def test_what_the_child_writes_is_delivered_and_makes_the_state_running(rig):
    rig.start(0)
    assert rig.source.state.name == "starting"
    rig.write(HEADER, block(0), block(4_800))
    header, first, second = rig.read(1 * S, 3)
    assert header == HEADER
    assert (first.first_frame, second.first_frame) == (0, 4_800)
    state = rig.source.state
    assert (state.name, state.since_ns, state.detail, state.restarts) == (
        "running",
        1 * S,
        "mic",
        0,
    )


def test_the_first_block_behind_each_header_begins_a_stream_whether_or_not_the_child_says_so(rig):
    rig.start(0)
    rig.write(HEADER, block(0), block(4_800), HEADER, block(0))
    flags = [message.flags for message in rig.read(0, 5) if isinstance(message, Block)]
    assert flags == [BlockFlags.NEW_STREAM, 0, BlockFlags.NEW_STREAM]


def test_nothing_there_is_delivered_at_once_as_nothing(rig):
    rig.start(0)
    assert rig.source.deliver(1) == []


def test_a_child_that_ends_is_an_absent_device_and_its_last_error_line_says_why(rig):
    rig.say('noise\n{"error": "no mic", "hint": "plug it in"}\nALSA lib noise\n')
    rig.start(0)
    rig.write(HEADER, block())
    rig.end()
    *_, ended = rig.read(1 * S, 3)
    assert ended == StreamEnded(GapReason.ABSENT, "no mic (plug it in)")
    assert (rig.source.state.name, rig.source.state.detail) == ("absent", ended.detail)
    assert rig.source.fileno() is None


@pytest.mark.parametrize(
    ("last_line", "detail"),
    [
        ("", "the capture child exited with status 3"),
        ("Traceback\nboom\n", "the capture child exited with status 3: boom"),
        ("{}\n", "the capture child exited with status 3: {}"),
        ("[" * 3000 + "\n", "the capture child exited with status 3: " + "[" * 3000),
        ('"error"\n', 'the capture child exited with status 3: "error"'),
    ],
)
def test_a_child_that_ends_without_an_error_line_is_told_by_its_exit_status(rig, last_line, detail):
    rig.say(last_line)
    assert rig.fail(0) == [StreamEnded(GapReason.ABSENT, detail)]


def test_a_child_killed_from_outside_is_told_by_the_signal(rig):
    rig.start(0)
    os.killpg(rig.source._child._process.pid, signal.SIGTERM)
    assert until_told(rig.source) == [
        StreamEnded(GapReason.ABSENT, "the capture child was killed by signal 15")
    ]


def test_a_child_that_closes_its_pipe_and_lives_on_is_killed(tmp_path):
    source = ChildSource("user", ["/bin/sh", "-c", "exec >&-; exec sleep 1000"], {}, now_ns=0)
    assert [ended.detail for ended in until_told(source)] == [
        "the capture child was killed by signal 9"
    ]


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
        rig.end()
        now_ns += lived_ns
        rig.read(now_ns)
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


def test_a_device_that_delivers_nothing_any_more_is_killed_as_a_stall(rig):
    rig.start(0)
    rig.write(HEADER, block())
    rig.read(0, 2)
    assert rig.source.deliver(LIMITS.stall_ns) == []
    (ended,) = rig.source.deliver(LIMITS.stall_ns + 1)
    assert ended == StreamEnded(GapReason.STALL, "no frame for 1.2 s")
    assert (rig.source.state.name, rig.source.fileno()) == ("stalled", None)
    await_exit()


def test_a_header_without_frames_is_no_proof_of_life(rig):
    rig.start(0)
    rig.write(HEADER)
    rig.read(LIMITS.start_ns)
    (ended,) = rig.source.deliver(LIMITS.start_ns + 1)
    assert ended.reason is GapReason.ABSENT


def test_a_reader_that_was_late_itself_finds_frames_and_no_stall(rig):
    rig.start(0)
    rig.write(HEADER, block())
    rig.read(0, 2)
    rig.write(block(4_800))
    assert [type(message) for message in rig.read(10 * LIMITS.stall_ns)] == [Block]
    assert rig.source.deliver(10 * LIMITS.stall_ns + 1) == []


def test_blocks_longer_than_the_stall_limit_are_waited_for(rig):
    rig.start(0)
    rig.write(HEADER)
    frames = HEADER.sample_rate  # 1 s: delivered in pairs, the next may come after 2 s and more
    os.set_blocking(rig.pipe, True)
    rig.write(encode_block(block(0, frames))[: 1 << 15])
    rest = encode_block(block(0, frames))[1 << 15 :]
    deliveries = []
    while rest:
        deliveries += rig.source.deliver(0)
        os.set_blocking(rig.pipe, False)
        try:
            rest = rest[os.write(rig.pipe, rest) :]
        except BlockingIOError:
            select.select([rig.source.fileno()], [], [], PATIENCE_S)
    while len(deliveries) < 2:
        deliveries += rig.read(0)
    assert rig.source.deliver(4 * S) == []
    assert len(rig.source.deliver(4 * S + 1)) == 1
    await_exit()


def test_a_device_that_hangs_while_it_is_opened_is_killed_as_absent(rig):
    rig.start(0)
    assert rig.source.deliver(LIMITS.start_ns) == []
    (ended,) = rig.source.deliver(LIMITS.start_ns + 1)
    assert ended == StreamEnded(GapReason.ABSENT, "not open after 10 s")
    await_exit()
    assert rig.source.deliver(LIMITS.start_ns + 2) == []  # reaped
    assert rig.start(LIMITS.start_ns + 1 + LIMITS.first_retry_ns) == []
    assert rig.source.state.restarts == 1


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


def test_a_child_that_ended_leaves_no_pipe_open(rig, recwarn):
    rig.fail(0)
    rig.source.close()
    assert [str(warning.message) for warning in recwarn] == []


def test_a_malformed_stream_ends_there_and_what_came_before_it_is_delivered(rig):
    rig.start(0)
    rig.write(HEADER, block(), b"rubbish")
    header, first, ended = rig.read(0, 3)
    assert (header, first.frames) == (HEADER, 4_800)
    assert ended.reason is GapReason.SOURCE
    assert "no block begins here" in ended.detail
    await_exit()


def test_a_kill_reaches_what_the_child_has_started(rig):
    rig.start(0)
    rig.source.deliver(LIMITS.start_ns + 1)
    os.close(rig.pipe)
    rig.pipe = None
    await_exit()
    # `cat` had the FIFO open; nobody reads there any more once it is dead.
    for _ in range(100_000):
        try:
            os.close(os.open(rig.fifo, os.O_WRONLY | os.O_NONBLOCK))
        except OSError as error:
            assert error.errno == errno.ENXIO
            return
    pytest.fail("what the child started is still alive")


def test_a_child_that_a_driver_holds_back_blocks_nothing_and_gets_no_twin(tmp_path, monkeypatch):
    """Nothing unprivileged survives SIGKILL, so the kill is what is faked here."""
    rig = Rig(tmp_path, limits=ChildLimits(exit_ns=1_000_000))
    rig.start(0)
    pid = rig.source._child._process.pid
    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", lambda *_: None)
        assert len(look_twice(rig.source, LIMITS.start_ns + 1)) == 1
        for now_s in range(20, 30):
            assert rig.source.deliver(now_s * S) == []
        assert rig.source.state.restarts == 0
        rig.source.close()
    os.killpg(pid, signal.SIGKILL)
    os.close(rig.pipe)
    os.waitid(os.P_PID, pid, os.WEXITED)


def test_a_child_that_closed_its_pipe_and_won_t_exit_is_told_after_a_while(monkeypatch):
    source = ChildSource("user", ["/bin/sh", "-c", "exec >&-; exec sleep 1000"], {}, now_ns=0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "killpg", lambda *_: None)
        source.deliver(0)
        pid = source._child._process.pid
        while source.fileno() is not None:
            select.select([source.fileno()], [], [], PATIENCE_S)
            assert source.deliver(0) == []
        assert source.deliver(LIMITS.exit_ns) == []
        (ended,) = source.deliver(LIMITS.exit_ns + 1)
        assert "won't exit" in ended.detail
        assert source.deliver(LIMITS.exit_ns + 2) == []
    os.killpg(pid, signal.SIGKILL)
    await_exit()
    source.close()


def test_the_child_gets_our_environment_and_its_own_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("OURS", "a")
    script = """echo "{\\"error\\": \\"$OURS $THEIRS\\"}" >&2"""
    source = ChildSource("user", ["/bin/sh", "-c", script], {"THEIRS": "b"}, now_ns=0)
    assert [ended.detail for ended in until_told(source)] == ["a b"]


def test_ctrl_c_in_our_terminal_does_not_reach_the_child():
    source = ChildSource("user", ["/bin/sleep", "1000"], {}, now_ns=0)
    source.deliver(0)
    assert os.getpgid(source._child._process.pid) != os.getpgid(0)
    source.close()


def test_a_child_that_complains_without_end_is_neither_blocked_nor_remembered(tmp_path):
    complaints = 40 * 64 * 1024 // 100  # forty pipes full
    script = f"""yes {"x" * 99} | head -n {complaints} >&2; echo '{{"error": "last"}}' >&2"""
    source = ChildSource("user", ["/bin/sh", "-c", script], {}, now_ns=0)
    source.deliver(0)
    deliveries = []
    while not deliveries:
        child = source._child
        if source.fileno() is not None:
            select.select([source.fileno(), child._stderr], [], [], PATIENCE_S)
        else:
            await_exit()
        assert len(child._stderr_tail) <= process.MAX_STDERR_BYTES
        deliveries = source.deliver(0)
    assert deliveries[0].detail == "last"


def test_a_child_that_floods_us_cannot_hold_us():
    with open("/dev/zero", "rb") as endless:  # noqa: PTH123
        pieces = itertools.islice(process._read_available(endless), 10_000)
        assert sum(map(len, pieces)) == 2 * 1024 * 1024


def test_close_leaves_no_process_behind(rig):
    rig.start(0)
    pid = rig.source._child._process.pid
    rig.source.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def watched(rig):
    """Have a child run that somebody vouches for; return its process id."""
    rig.start(0)
    rig.write(HEADER, block(0, arrived_ns=1 * S))
    rig.read(1 * S, 2)
    pid = rig.source.findings.opened.pid
    assert rig.source.findings.opened.device == "mic"
    rig.source.findings.vouch(pid)
    return pid


def test_the_newest_block_of_a_watched_device_waits_for_the_next_but_not_long(rig):
    watched(rig)
    rig.write(block(4_800), block(9_600, arrived_ns=2 * S))
    first = rig.read(2 * S)
    while not rig.source._held:  # the second one may be read on its own
        first += rig.source.deliver(2 * S)
    assert [one.first_frame for one in first] == [4_800]
    assert rig.source.deliver(2 * S + HOLD_NS) == []
    (held,) = rig.source.deliver(2 * S + HOLD_NS + 1)
    assert held.first_frame == 9_600


def test_a_block_that_has_waited_in_the_pipe_long_enough_is_not_kept(rig):
    watched(rig)
    rig.write(block(4_800, arrived_ns=2 * S))
    (newest,) = rig.read(2 * S + HOLD_NS + 1)
    assert newest.first_frame == 4_800


def test_a_child_that_is_patient_can_wait_only_while_it_runs(tmp_path):
    rig = Rig(tmp_path, patient=True)
    rig.start(0)
    assert not rig.source.unhurried
    rig.write(HEADER, block())
    rig.read(0, 2)
    assert rig.source.unhurried
    assert rig.source.deliver(LULL_NS - 1) == []
    assert rig.source.unhurried
    assert rig.source.deliver(LULL_NS) == []
    assert not rig.source.unhurried  # it may have died: found out in time, or heard again
    rig.write(block(4_800, arrived_ns=S - LULL_NS))
    rig.read(S)
    assert not rig.source.unhurried
    rig.write(block(9_600, arrived_ns=S - LULL_NS + 1))
    rig.read(S)
    assert rig.source.unhurried
    look_twice(rig.source, S + LIMITS.stall_ns + 1)
    assert not rig.source.unhurried
    rig.close()


def test_a_child_whose_pipe_is_small_cannot_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "make_room", lambda pipe: False)  # as over the user's limit
    rig = Rig(tmp_path, patient=True)
    rig.start(0)
    rig.write(HEADER, block())
    rig.read(0, 2)
    assert not rig.source.unhurried
    rig.close()


def test_a_device_that_was_swapped_is_killed_and_what_it_delivered_since_is_dropped(rig):
    pid = watched(rig)
    rig.write(block(4_800, arrived_ns=2 * S))
    while not rig.source._held:
        assert rig.source.deliver(2 * S) == []
    rig.source.findings.suspect(2 * S)
    rig.write(block(9_600))
    assert rig.source.deliver(2 * S) == []
    rig.source.findings.accuse(pid, "another source")
    (ended,) = rig.source.deliver(2 * S)
    assert ended == StreamEnded(GapReason.SOURCE, "another source")
    assert rig.source.state.name == "absent"
    rig.end()
    assert rig.source.deliver(2 * S) == []
    assert rig.source.findings.opened is None
    rig.start(3 * S)  # an accusation is of one child only
    rig.write(HEADER, block(0))
    assert len(rig.read(3 * S, 2)) == 2


def test_what_a_swapped_device_delivered_before_it_was_suspected_is_its_own(rig):
    pid = watched(rig)
    suspected_ns = 2 * S
    rig.source.findings.suspect(suspected_ns)
    rig.source.findings.accuse(pid, "another source")
    rig.source.findings.suspect(suspected_ns + HOLD_NS)  # by the server's next event
    rig.source.findings.accuse(pid, "another source")
    last_ns = suspected_ns - HOLD_NS
    sent = block(4_800, arrived_ns=last_ns), block(9_600, arrived_ns=last_ns + 1)
    rig.write(*sent)
    wait_until_in_its_pipe(rig, *sent)
    own, ended = rig.source.deliver(suspected_ns)
    assert (own.first_frame, ended.reason) == (4_800, GapReason.SOURCE)


def test_a_reader_that_rested_looks_again_before_it_tells_a_stall(rig):
    rig.start(0)
    rig.write(HEADER, block())
    rig.read(0, 2)
    late_ns = LIMITS.stall_ns + 1
    assert rig.source.deliver(late_ns) == []
    assert not rig.source.unhurried
    late = block(4_800, arrived_ns=late_ns)
    rig.write(late)
    wait_until_in_its_pipe(rig, late)
    assert [type(message) for message in rig.source.deliver(late_ns)] == [Block]


def test_a_stamp_from_the_future_is_no_reason_to_wait_until_then(rig):
    rig.start(0)
    rig.write(HEADER, block(arrived_ns=100 * S))
    rig.read(0, 2)
    (ended,) = look_twice(rig.source, LIMITS.stall_ns + 1)
    assert ended.reason is GapReason.STALL


def test_a_suspected_device_is_not_read_until_it_is_cleared_or_nobody_does(rig):
    pid = watched(rig)
    rig.source.findings.suspect(2 * S)
    rig.write(block(4_800), block(9_600, arrived_ns=2 * S))
    assert rig.source.deliver(2 * S) == []
    assert rig.source.fileno() is None  # or a full pipe would have the loop spin
    rig.source.findings.vouch(pid)
    while not rig.source._held:
        rig.source.deliver(2 * S)
    later_ns = 2 * S + LIMITS.stall_ns - SUSPECT_NS
    rig.source.findings.suspect(later_ns)
    assert rig.source.deliver(later_ns) == []
    assert rig.source.deliver(later_ns + SUSPECT_NS)[-1].first_frame == 9_600


def test_a_stall_delivers_what_was_held_before_it_is_told(rig):
    watched(rig)
    rig.write(block(4_800, arrived_ns=2 * S))
    while not rig.source._held:
        rig.source.deliver(2 * S)
    held, ended = look_twice(rig.source, 2 * S + LIMITS.stall_ns + 1)
    assert (held.first_frame, ended.reason) == (4_800, GapReason.STALL)


def test_what_came_before_a_stream_is_its_own_is_dropped(rig):
    rig.start(0)
    begin_ns, pair_ns = 1 * S, 2 * 4_800 * S // HEADER.sample_rate
    rig.source.findings.begins(rig.source.findings.opened.pid, begin_ns)
    before = block(0, arrived_ns=begin_ns + pair_ns - 1)
    rig.write(HEADER, before, block(4_800, arrived_ns=begin_ns + pair_ns))
    _, first = rig.read(begin_ns + pair_ns, 2)
    assert (first.first_frame, first.flags) == (4_800, BlockFlags.NEW_STREAM)


SERVED = replace(HEADER, device="pulse:mic")


def test_a_servers_stream_is_not_heard_before_it_is_vouched_for(rig):
    rig.source.findings.followed = True
    rig.start(0)
    pid, pair_ns = rig.source.findings.opened.pid, 2 * 4_800 * S // HEADER.sample_rate
    begin_ns = 1 * S + pair_ns + 1
    own = block(4_800, arrived_ns=begin_ns + pair_ns)
    rig.write(SERVED, block(0, arrived_ns=own.arrived_ns - 1), own)
    while len(rig.source._beginning) < 3:
        assert rig.source.deliver(1 * S) == []
    rig.source.findings.begins(pid, begin_ns)
    rig.source.findings.vouch(pid)
    vouched = rig.source.deliver(1 * S + SUSPECT_NS - 1)
    header, first = vouched + rig.source.deliver(own.arrived_ns + HOLD_NS + 1)
    assert (header, first.first_frame) == (SERVED, 4_800)
    assert first.flags == BlockFlags.NEW_STREAM


def test_nor_is_it_waited_for_longer_than_a_suspicion_lasts(rig):
    rig.source.findings.followed = True
    rig.start(0)
    rig.write(SERVED, block(0))
    came_ns = LIMITS.start_ns - 1
    while len(rig.source._beginning) < 2:
        assert rig.source.deliver(came_ns) == []
    assert rig.source.deliver(came_ns + SUSPECT_NS - 1) == []  # nor taken for one that hangs
    assert len(rig.source.deliver(came_ns + SUSPECT_NS)) == 2


def test_nor_is_it_lost_when_its_child_ends_meanwhile(rig):
    rig.source.findings.followed = True
    rig.start(0)
    rig.write(SERVED, block(0))
    rig.end()
    header, first, ended = until_told(rig.source, 1 * S)
    assert (header, first.first_frame, ended.reason) == (SERVED, 0, GapReason.ABSENT)


def test_nor_told_by_the_next_child_when_it_was_malformed(rig):
    rig.source.findings.followed = True
    rig.start(0)
    rig.write(SERVED, block(0))
    while len(rig.source._beginning) < 2:
        assert rig.source.deliver(1 * S) == []
    rig.write(b"rubbish" * 10)
    (ended,) = until_told(rig.source, 1 * S)
    assert ended.reason is GapReason.SOURCE
    rig.end()
    rig.source.deliver(1 * S)
    assert rig.start(2 * S) == []


def test_where_nobody_follows_the_server_it_is_heard_at_once(rig):
    rig.start(0)
    rig.write(SERVED, block(0))
    assert len(rig.read(1 * S, 2)) == 2


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

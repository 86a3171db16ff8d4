import fcntl
import io
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from edgerec.audio import Block, BlockFlags, StreamEnded, StreamHeader
from edgerec.clock import boot_id, raw_now_ns
from edgerec.engine.capture_loop import PACE_MS
from edgerec.simulation import kiosk as simulate
from edgerec.simulation.conversation import conversation, silence
from edgerec.simulation.device import Absence, DeviceModel, Faults, Loss, Stall
from edgerec.simulation.kiosk import VirtualKiosk, simulate_command, stream
from edgerec.wire.blocks import Decoder
from tests.rigs.waiting import PATIENCE_S, wait_for

ROUGH = Faults(spike_per_hour=900, stall_per_hour=90, loss_per_hour=90, absence_per_hour=60)


def kiosk(*, world=silence, seed=7, user=None, bot=None):
    return VirtualKiosk(
        user or DeviceModel(sample_rate=16_000),
        bot or DeviceModel(sample_rate=16_000),
        seed=seed,
        world=world,
    )


def test_a_kiosk_delivers_the_same_each_time_it_is_run():
    rough = DeviceModel(sample_rate=16_000, drift_ppm=87, jitter_ms=3, faults=ROUGH)
    one, two = (kiosk(world=None, user=rough, bot=rough) for _ in range(2))
    assert list(one.handovers(60)) == list(one.handovers(60)) == list(two.handovers(60))
    assert list(one.deliveries(60)) != list(kiosk(world=None, seed=8).deliveries(60))


def test_both_tracks_come_merged_in_order_of_arrival():
    model = DeviceModel(sample_rate=16_000, jitter_ms=40, block_ms=20)
    handed = list(kiosk(user=model, bot=model).handovers(30))
    arrivals_ns = [handover.at_ns for handover in handed]
    assert arrivals_ns == sorted(arrivals_ns)
    for track in ("user", "bot"):
        own = [h.delivery for h in handed if h.track == track]
        assert isinstance(own[0], StreamHeader)
        assert own[0].track == track
        assert [b.first_frame for b in own[1:]] == list(range(0, 30 * 16_000, 320))


def test_the_two_devices_fail_each_at_its_own_time():
    rough = DeviceModel(sample_rate=16_000, faults=ROUGH)
    handed = list(kiosk(user=rough, bot=rough).handovers(600))
    lost_at = {
        track: [h.sampled_ns for h in handed if h.track == track and h.lost_frames]
        for track in ("user", "bot")
    }
    assert lost_at["user"]
    assert lost_at["bot"]
    assert not set(lost_at["user"]) & set(lost_at["bot"])


def test_every_loss_in_the_truth_is_a_jump_in_the_stream_and_no_other_is():
    rough = DeviceModel(sample_rate=16_000, jitter_ms=3, faults=ROUGH)
    expected = 0
    jumps = losses = 0
    for handover in kiosk(user=rough).handovers(1800):
        block = handover.delivery
        if handover.track == "bot" or isinstance(block, StreamEnded):
            continue
        if isinstance(block, StreamHeader):
            expected = 0
            continue
        assert block.first_frame - expected == handover.lost_frames
        assert bool(block.flags & BlockFlags.OVERFLOW) == bool(handover.lost_frames)
        jumps += block.first_frame != expected
        losses += handover.lost_frames > 0
        expected = block.first_frame + block.frames
    assert jumps == losses > 10


def test_two_devices_that_drift_apart_sample_the_same_world():
    """Ten minutes at 600 ppm part them by 0.36 s; the truth puts them together again."""
    said_by_bot = conversation(7)
    both = kiosk(
        world=lambda _track: said_by_bot("bot"),
        user=DeviceModel(drift_ppm=300),
        bot=DeviceModel(drift_ppm=-300),
    )
    seconds = 600
    instants_ns = {"user": [], "bot": []}
    samples = {"user": [], "bot": []}
    for handover in both.handovers(seconds):
        block = handover.delivery
        if isinstance(block, Block) and handover.sampled_ns > 1e9 * (seconds - 20):
            ppm = 300 if handover.track == "user" else -300
            step_ns = 1e9 / (48_000 * (1 + ppm * 1e-6))
            instants_ns[handover.track].append(
                handover.sampled_ns + step_ns * np.arange(block.frames)
            )
            samples[handover.track].append(np.frombuffer(block.pcm, "<i2"))
    user, bot = (np.concatenate(samples[track]).astype(float) for track in ("user", "bot"))
    user_ns, bot_ns = (np.concatenate(instants_ns[track]) for track in ("user", "bot"))
    both_heard = (bot_ns > user_ns[0]) & (bot_ns < user_ns[-1])
    aligned = np.interp(bot_ns[both_heard], user_ns, user)
    assert np.corrcoef(aligned, bot[both_heard])[0, 1] > 0.999
    counted = min(len(user), len(bot))
    assert np.corrcoef(user[:counted], bot[:counted])[0, 1] < 0.5


def test_the_truth_names_the_instant_of_a_frame():
    virtual = kiosk(user=DeviceModel(drift_ppm=50)).device("user")
    for handover in virtual.run(10):
        if isinstance(handover.delivery, Block):
            assert virtual.true_ns(handover.delivery.first_frame) == handover.sampled_ns


def test_a_day_of_a_silent_kiosk_is_exact_to_the_frame():
    seconds = 86_400
    model = DeviceModel(sample_rate=16_000, block_ms=1000)
    frames = {"user": 0, "bot": 0}
    for track, delivery in kiosk(user=model, bot=model).deliveries(seconds):
        if isinstance(delivery, Block):
            frames[track] += delivery.frames
    assert frames == {"user": seconds * 16_000, "bot": seconds * 16_000}


def test_a_stream_on_the_wire_holds_what_the_device_delivered():
    """Its time is long past, so that it comes without a wait."""
    events = (Loss(0.5, 99), Stall(1.0, 0.4), Absence(2.0, 1.0, sample_rate=22_050))
    device = kiosk(user=DeviceModel(events=events, channels=2)).device("user")
    handed = list(device.run(5))
    output = io.BytesIO()
    stream(handed, output)
    decoder = Decoder()
    read = list(decoder.feed(output.getvalue()))
    assert not decoder.unfinished
    assert read == [h.delivery for h in handed if not isinstance(h.delivery, StreamEnded)]


class StoppedClock:
    """CLOCK_MONOTONIC_RAW that stands still but for those who sleep, who wake a little early."""

    def __init__(self):
        self.now_ns = 0

    def sleep(self, seconds):
        self.now_ns += max(1, round(seconds * 0.9e9))


def test_a_block_is_written_when_its_time_has_come_and_not_before(monkeypatch):
    clock = StoppedClock()
    monkeypatch.setattr(simulate, "raw_now_ns", lambda: clock.now_ns)
    monkeypatch.setattr(simulate.time, "sleep", clock.sleep)
    written_ns = []

    class Pipe(io.BytesIO):
        def flush(self):
            written_ns.append(clock.now_ns)

    handed = list(kiosk(user=DeviceModel(jitter_ms=5)).device("user").run(5))
    stream(handed, Pipe())
    assert written_ns == [h.at_ns for h in handed if isinstance(h.delivery, Block)]


def read_blocks(process, count):
    decoder, messages = Decoder(), []
    while len(messages) <= count:
        data = os.read(process.stdout.fileno(), 1 << 16)
        assert data, "the child ended"
        messages += decoder.feed(data)
    return messages


@pytest.fixture
def child():
    command = simulate_command(
        "bot",
        seed=7,
        start_ns=raw_now_ns() - 3_000_000_000,  # the world is older than the child
        sample_rate=16_000,
        channels=2,
        block_ms=20,
        drift_ppm=-30.5,
        jitter_ms=1,
        loss_per_hour=1,
        stall_per_hour=1,
    )
    before_ns = raw_now_ns()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.before_ns = before_ns
        yield process
        process.kill()


def test_the_child_speaks_the_block_stream_from_now_on(child):
    header, *blocks = read_blocks(child, 3)
    assert (header.sample_rate, header.channels, header.track) == (16_000, 2, "bot")
    assert header.clock == "monotonic_raw"
    assert header.boot_id == boot_id()
    assert header.utc_ns > 1_700_000_000_000_000_000
    assert blocks[0].first_frame == 0
    assert blocks[0].flags & BlockFlags.NEW_STREAM
    assert {block.frames for block in blocks} == {320}
    # Nothing from before it was started, and nothing from the future.
    assert child.before_ns < blocks[0].arrived_ns <= blocks[-1].arrived_ns <= raw_now_ns()


def test_the_childs_pipe_has_room_for_a_second_of_a_stereo_device(child):
    read_blocks(child, 1)
    # Twice what comes from one look of the recorder to the next.
    assert fcntl.fcntl(child.stdout, fcntl.F_GETPIPE_SZ) > 48_000 * 2 * 2 * (2 * PACE_MS / 1000)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_the_child_ends_quietly_on_a_signal(child, ending):
    read_blocks(child, 1)
    child.send_signal(ending)
    assert child.wait(PATIENCE_S) == -ending
    assert child.stderr.read() == b""


def test_the_child_ends_quietly_when_nobody_reads_any_more(child):
    read_blocks(child, 1)
    child.stdout.close()
    # 0 where SIGPIPE is blocked by who started us.
    assert child.wait(PATIENCE_S) in (-signal.SIGPIPE, 0)
    assert child.stderr.read() == b""


def test_a_child_started_before_the_world_waits_for_its_beginning():
    start_ns = raw_now_ns() + 1_500_000_000
    command = simulate_command("user", seed=7, start_ns=start_ns, block_ms=20)
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        _, block = read_blocks(process, 1)[:2]
        process.kill()
    assert start_ns + 20_000_000 <= block.arrived_ns < raw_now_ns()


def test_the_child_dies_with_the_process_that_started_it():
    command = simulate_command("user", seed=7, start_ns=raw_now_ns())
    run = f"import subprocess; subprocess.run({command!r})"
    with subprocess.Popen([sys.executable, "-c", run], stdout=subprocess.PIPE) as parent:
        read_blocks(parent, 1)
        parent.kill()
        # Till both ends of the pipe are gone.
        wait_for(
            lambda: not os.read(parent.stdout.fileno(), 1 << 16),
            why=lambda: "the child outlived its parent",
        )


def test_the_command_carries_every_option_to_the_device():
    command = simulate_command(
        "user",
        seed=3,
        start_ns=17,
        sample_rate=44_100,
        channels=2,
        block_ms=21.5,
        drift_ppm=-87.5,
        jitter_ms=2.5,
        loss_per_hour=6,
        stall_per_hour=1.5,
    )
    args = simulate._parser().parse_args(command[3:])
    assert (args.track, args.seed, args.start_ns) == ("user", 3, 17)
    assert simulate._model(args, starts_s=1.0) == DeviceModel(
        sample_rate=44_100,
        channels=2,
        block_ms=21.5,
        drift_ppm=-87.5,
        jitter_ms=2.5,
        starts_s=1.0,
        faults=Faults(loss_per_hour=6, stall_per_hour=1.5),
    )

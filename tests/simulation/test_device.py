"""A virtual device tells the truth about what it delivers; its faults come when they should."""

import itertools
import math

import numpy as np
import pytest

from edgerec.audio import Block, BlockFlags, DeviceFrame, GapReason, StreamEnded, StreamHeader
from edgerec.simulation.conversation import silence, tone
from edgerec.simulation.device import (
    NO_FAULTS,
    Absence,
    DeviceModel,
    Faults,
    Loss,
    Stall,
    VirtualDevice,
    schedule,
)

START_NS = 5_000_000_000
DAY_S = 86_400.0


def device(world=silence, *, seed=1, start_utc_ns=0, boot_id="", **model):
    return VirtualDevice(
        "user",
        DeviceModel(**model),
        world("user"),
        seed=seed,
        start_ns=START_NS,
        start_utc_ns=start_utc_ns,
        boot_id=boot_id,
    )


def blocks(handovers):
    return [h for h in handovers if isinstance(h.delivery, Block)]


def test_a_perfect_device_delivers_a_header_and_every_frame_in_whole_blocks():
    header, *rest = device(sample_rate=16_000, channels=2).run(12)
    assert header.delivery == StreamHeader(16_000, 2, "user", "simulated:user", "monotonic_raw")
    assert [h.delivery.first_frame for h in rest] == list(range(0, 12 * 16_000, 1600))
    assert {h.delivery.frames for h in rest} == {1600}
    assert {len(h.delivery.pcm) for h in rest} == {1600 * 2 * 2}
    assert [h.delivery.flags for h in rest] == [BlockFlags.NEW_STREAM] + [0] * 119


def test_blocks_are_sampled_and_handed_over_when_the_model_says():
    for n, handover in enumerate(blocks(device(latency_ms=5).run(3))):
        assert handover.sampled_ns == START_NS + n * 100_000_000
        assert handover.at_ns == handover.delivery.arrived_ns
        assert handover.at_ns == START_NS + (n + 1) * 100_000_000 + 5_000_000


def test_a_fast_device_counts_more_frames_by_its_drift():
    fast = blocks(device(drift_ppm=100, sample_rate=16_000).run(3600))
    assert len(fast) == math.ceil(36_000 * (1 + 100e-6))


def test_wander_swings_the_rate_around_the_drift_by_its_amplitude():
    model = DeviceModel(drift_ppm=30, wander_ppm=5, wander_period_s=600)
    quartz_s = np.arange(0, 1200.0)
    true_s = np.array([model.true_s(s) for s in quartz_s])
    ppm = (1 / np.diff(true_s) - 1) * 1e6
    assert ppm.max() == pytest.approx(35, abs=0.01)
    assert ppm.min() == pytest.approx(25, abs=0.01)
    assert ppm.mean() == pytest.approx(30, abs=0.01)


def test_samples_are_the_worlds_at_the_devices_own_instants():
    hz = 440.0
    handed = blocks(device(tone(hz), drift_ppm=200, wander_ppm=50, wander_period_s=60).run(30))
    worst = 0.0
    for handover in handed[-10:]:
        block = handover.delivery
        heard = np.frombuffer(block.pcm, "<i2") / 32767
        step_s = 1 / (48_000 * (1 + 200e-6))
        true_s = (handover.sampled_ns - START_NS) / 1e9 + step_s * np.arange(block.frames)
        expected = 10 ** (-6 / 20) * np.sin(2 * np.pi * hz * true_s)
        worst = max(worst, np.abs(heard - expected).max())
    # Half a quantum, and 50 ppm of wander over a block of 0.1 s that `step_s` here ignores.
    assert worst < 0.5 / 32767 + 2 * np.pi * hz * 0.1 * 50e-6


@pytest.mark.parametrize("drift_ppm", [-300, 0, 300])
def test_arrivals_are_in_order_and_never_early(drift_ppm):
    rough = Faults(spike_per_hour=600, stall_per_hour=60, loss_per_hour=60, absence_per_hour=30)
    virtual = device(
        drift_ppm=drift_ppm, wander_ppm=5, latency_ms=3, jitter_ms=4, block_ms=20, faults=rough
    )
    last_ns = 0
    for handover in virtual.run(600):
        assert handover.at_ns >= last_ns
        last_ns = handover.at_ns
        if isinstance(handover.delivery, Block):
            block = handover.delivery
            stop_ns = virtual.true_ns(DeviceFrame(block.first_frame + block.frames))
            assert handover.sampled_ns == virtual.true_ns(block.first_frame)
            assert block.arrived_ns >= stop_ns + 3_000_000


def test_jitter_has_its_stated_mean_and_touches_zero():
    late_ns = [
        h.at_ns - h.sampled_ns - 100_000_000
        for h in blocks(device(latency_ms=0, jitter_ms=2, sample_rate=16_000).run(1000))
    ]
    # The mean of 10,000 exponentials deviates by a hundredth of itself: five of them.
    assert np.mean(late_ns) == pytest.approx(2e6, rel=0.05)
    assert min(late_ns) < 2e6 * 0.01


def test_after_a_stall_everything_comes_at_once_and_nothing_is_missing():
    handed = blocks(device(latency_ms=0, events=(Stall(2.05, 0.5),)).run(4))
    assert [h.delivery.first_frame for h in handed] == list(range(0, 4 * 48_000, 4800))
    arrived_s = [(h.at_ns - START_NS) / 1e9 for h in handed]
    assert arrived_s[19:27] == pytest.approx([2.0, 2.55, 2.55, 2.55, 2.55, 2.55, 2.6, 2.7])


def test_a_short_stall_within_a_long_one_does_not_end_it():
    long = Stall(2.05, 0.5)
    alone = list(device(events=(long,)).run(4))
    assert alone == list(device(events=(long, Stall(2.06, 0.02))).run(4))


def test_a_counted_loss_makes_first_frame_jump_by_what_was_lost():
    handed = blocks(device(events=(Loss(1.05, 480),)).run(2))
    jumped = handed[10]
    assert jumped.delivery.first_frame == 48_000 + 480
    assert jumped.delivery.flags == BlockFlags.OVERFLOW
    assert jumped.lost_frames == 480
    assert jumped.sampled_ns == START_NS + 1_010_000_000
    assert handed[11].delivery.first_frame == 48_000 + 480 + 4800
    assert (handed[11].delivery.flags, handed[11].lost_frames) == (0, 0)


def test_an_uncounted_loss_shows_in_a_flag_and_in_the_truth_alone():
    virtual = device(events=(Loss(1.05, 480, counted=False),))
    handed = blocks(virtual.run(2))
    assert [h.delivery.first_frame for h in handed] == list(range(0, len(handed) * 4800, 4800))
    assert handed[10].delivery.flags == BlockFlags.OVERFLOW
    assert handed[10].lost_frames == 480
    assert handed[10].sampled_ns == START_NS + 1_010_000_000
    assert virtual.true_ns(DeviceFrame(48_000)) == START_NS + 1_010_000_000


def test_every_frame_sampled_is_delivered_or_told_as_lost():
    virtual = device(faults=Faults(loss_per_hour=600), sample_rate=16_000)
    handed = blocks(virtual.run(3600))
    delivered = sum(h.delivery.frames for h in handed)
    lost = sum(h.lost_frames for h in handed)
    last = handed[-1].delivery
    assert lost > 0
    assert delivered + lost == last.first_frame + last.frames


def test_an_absent_device_ends_its_stream_and_comes_back_as_a_new_one():
    back = Absence(1.05, seconds=5.0, sample_rate=44_100)
    handed = list(device(events=(back,), channels=1, latency_ms=0).run(8))
    ended = next(h for h in handed if isinstance(h.delivery, StreamEnded))
    assert ended.delivery.reason is GapReason.ABSENT
    assert ended.at_ns == START_NS + 1_050_000_000
    header, block = handed[handed.index(ended) + 1 :][:2]
    assert header.delivery.sample_rate == 44_100
    assert block.delivery.first_frame == 0
    assert block.delivery.frames == 4410
    assert block.delivery.flags == BlockFlags.NEW_STREAM
    assert block.sampled_ns == ended.sampled_ns == START_NS + 6_050_000_000
    assert len(blocks(handed)) == 10 + 20


def test_a_device_that_comes_back_has_forgotten_what_it_lost():
    events = (Loss(0.5, 480, counted=False), Loss(1.05, 480), Absence(1.06, seconds=1.0))
    handed = list(device(events=events).run(4))
    ended = next(n for n, h in enumerate(handed) if isinstance(h.delivery, StreamEnded))
    block = handed[ended + 2]
    assert block.delivery.first_frame == 0
    assert block.delivery.flags == BlockFlags.NEW_STREAM
    assert block.lost_frames == 0


def test_what_happens_to_a_device_that_is_away_changes_nothing():
    away = Absence(1.05, seconds=5.0)
    alone = list(device(events=(away,)).run(8))
    assert alone == list(device(events=(away, Loss(3.0, 99), Absence(4.0, 60.0))).run(8))


def test_a_device_opened_late_samples_the_world_of_then():
    late = blocks(device(tone(440.0), starts_s=DAY_S, drift_ppm=300).run(DAY_S + 1))
    assert late[0].sampled_ns == START_NS + round(DAY_S * 1e9)
    assert late[0].delivery.first_frame == 0
    assert len(late) == 11  # 1.0003 s of its own


def test_headers_tell_the_wall_clock_of_their_first_block_where_it_is_known():
    utc_ns = 1_800_000_000_000_000_000
    (header, block, *_) = device(start_utc_ns=utc_ns, boot_id="b").run(1)
    assert header.delivery.utc_ns == utc_ns + block.at_ns - START_NS
    assert header.delivery.boot_id == "b"
    assert next(device().run(1)).delivery.utc_ns == 0


def test_channels_are_copies_and_too_loud_a_world_saturates():
    loud = tone(440.0, dbfs=+6.0)
    (handed, *_) = blocks(device(loud, channels=2).run(1))
    pcm = np.frombuffer(handed.delivery.pcm, "<i2").reshape(-1, 2)
    assert np.array_equal(pcm[:, 0], pcm[:, 1])
    assert (pcm.min(), pcm.max()) == (-32767, 32767)


def test_the_same_seed_delivers_the_same_and_another_seed_other_arrivals():
    rough = {"jitter_ms": 3, "faults": Faults(spike_per_hour=900, loss_per_hour=900)}
    assert list(device(**rough).run(60)) == list(device(**rough).run(60))
    assert list(device(**rough).run(60)) != list(device(**rough, seed=2).run(60))


@pytest.mark.parametrize("block_ms", [0.5, -1, 2001])
def test_impossible_blocks_are_refused(block_ms):
    with pytest.raises(ValueError, match="block_ms"):
        DeviceModel(block_ms=block_ms)


RATE_HZ = 48_000


def first(count, faults, *events, seed=1, track="user"):
    planned = schedule(faults, events, sample_rate=RATE_HZ, seed=seed, track=track)
    return list(itertools.islice(planned, count))


def test_a_faultless_schedule_is_what_was_asked_for_in_order_of_time():
    late, early = Stall(20.0, 0.7), Loss(12.0, 480)
    assert first(9, NO_FAULTS, late, early) == [early, late]


def test_events_on_purpose_take_their_place_among_the_random_ones():
    planned = first(50, Faults(stall_per_hour=60), Absence(600.0, 5.0))
    assert Absence(600.0, 5.0) in planned
    assert planned == sorted(planned, key=lambda event: event.at_s)


@pytest.mark.parametrize("kind", ["spike", "stall", "loss", "absence"])
def test_random_faults_come_as_often_and_as_bad_as_stated(kind):
    hours = 500
    planned = list(
        itertools.takewhile(
            lambda event: event.at_s < hours * 3600,
            schedule(
                Faults(**{f"{kind}_per_hour": 4.0, f"{kind}_s": 0.5}),
                (),
                sample_rate=RATE_HZ,
                seed=3,
                track="bot",
            ),
        )
    )
    # A Poisson count of mean 2000 has a deviation of its root: five of them.
    assert len(planned) == pytest.approx(4 * hours, abs=5 * (4 * hours) ** 0.5)
    sizes = [e.frames / RATE_HZ if isinstance(e, Loss) else e.seconds for e in planned]
    assert 0 < min(sizes) < 0.01
    assert 0.49 < max(sizes) <= 0.5


def test_a_schedule_is_the_seeds_and_the_tracks():
    busy = Faults(stall_per_hour=10, loss_per_hour=10)
    assert first(20, busy) == first(20, busy)
    assert first(20, busy) != first(20, busy, seed=2)
    assert first(20, busy) != first(20, busy, track="bot")


def test_another_kind_of_fault_leaves_the_first_kind_where_it_was():
    stalls = first(40, Faults(stall_per_hour=10))
    both = first(40, Faults(stall_per_hour=10, loss_per_hour=10))
    shared = [event for event in both if isinstance(event, Stall)]
    assert shared == stalls[: len(shared)]


def test_losses_are_counted_or_not_as_stated():
    assert all(loss.counted for loss in first(5, Faults(loss_per_hour=9)))
    assert not any(loss.counted for loss in first(5, Faults(loss_per_hour=9, losses_counted=False)))

import itertools

import pytest

from edgerec.simulation.faults import NO_FAULTS, Absence, Faults, Loss, Stall, schedule

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

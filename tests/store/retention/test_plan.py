from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerec.store.retention.plan import (
    ORPHAN_KEPT_NS,
    Demand,
    Quota,
    StorageUsage,
    Stored,
    deletions,
    demand_of,
    hours_left,
    short_of_files,
)

QUOTA = Quota(
    max_age_ns=None,
    max_bytes=None,
    min_free_bytes=0,
    keep_unacknowledged=True,
    reserve_bytes=0,
)
NOTHING = Demand(0, None, None)


def stored(sequence, *, number=1, size=10, acknowledged=True, orphan=False, ended=None):
    path = Path(f"{number}_{sequence}.json")
    return Stored(path, f"{number:08x}", number, sequence, size, acknowledged, orphan, ended)


@st.composite
def files(draw):
    sequences = draw(st.lists(st.integers(0, 30), unique=True, max_size=20))
    return [
        stored(
            sequence,
            number=draw(st.integers(1, 3)),
            size=draw(st.integers(1, 50)),
            acknowledged=draw(st.booleans()),
            ended=draw(st.none() | st.integers(0, 100)),
        )
        for sequence in sequences
    ]


demands = st.builds(
    Demand,
    st.integers(0, 300),
    st.none() | st.integers(0, 100),
    st.none() | st.integers(0, 100),
    st.integers(0, 12),
)


def plan_deletions(held, demand, *, keep_unacknowledged, stuck=()):
    """What is gone in the end, in order; `stuck` can't be deleted."""
    tried = deletions(
        held,
        demand,
        keep_unacknowledged=keep_unacknowledged,
        delete=lambda file: file not in stuck,
    )
    return [file for file in tried if file not in stuck]


@given(files(), demands)
def test_what_no_sync_job_has_fetched_never_goes_unless_it_is_allowed(held, demand):
    plan = plan_deletions(held, demand, keep_unacknowledged=True)
    assert all(file.acknowledged for file in plan)


@given(files(), demands, st.booleans())
def test_nothing_goes_twice_and_nothing_that_is_not_there(held, demand, keep):
    plan = plan_deletions(held, demand, keep_unacknowledged=keep)
    assert len(set(plan)) == len(plan)
    assert set(plan) <= set(held)


@given(files(), demands, st.booleans())
def test_never_more_goes_than_is_needed(held, demand, keep):
    """Without the last of those that went for room, there is too little of it."""
    plan = plan_deletions(held, demand, keep_unacknowledged=keep)
    too_old = plan_deletions(held, replace(demand, bytes=0, files=0), keep_unacknowledged=keep)
    for_room = [file for file in plan if file not in too_old]
    if for_room:
        before = plan[: plan.index(for_room[-1])]
        freed_bytes, freed_files = sum(f.bytes for f in before), sum(f.files for f in before)
        assert freed_bytes < demand.bytes or freed_files < demand.files


@given(files(), demands, st.booleans())
def test_as_much_goes_as_is_needed_if_there_is_so_much(held, demand, keep):
    plan = plan_deletions(held, demand, keep_unacknowledged=keep)
    may_go = [file for file in held if file.acknowledged or not keep]
    freed = sum(file.bytes for file in plan)
    assert freed >= demand.bytes or sorted(plan, key=str) == sorted(may_go, key=str)


@given(files(), demands, st.booleans())
def test_what_goes_for_room_was_fetched_before_what_was_not_and_is_the_oldest(held, demand, keep):
    plan = plan_deletions(held, demand, keep_unacknowledged=keep)
    too_old = plan_deletions(held, replace(demand, bytes=0, files=0), keep_unacknowledged=keep)
    for_room = [file.order for file in plan if file not in too_old]
    stay = [file.order for file in held if file not in plan and (file.acknowledged or not keep)]
    assert not for_room or not stay or max(for_room) <= min(stay)


@given(files(), st.integers(0, 300))
def test_a_file_of_unknown_age_is_never_too_old(held, size):
    unknown = [replace(file, ended_utc_ns=None) for file in held]
    assert plan_deletions(unknown, Demand(0, 10**19, 10**19), keep_unacknowledged=False) == []


@given(files(), demands, st.booleans(), st.data())
def test_what_can_not_be_deleted_costs_only_the_next_ones(held, demand, keep, data):
    stuck = data.draw(st.sets(st.sampled_from(held))) if held else set()
    gone = plan_deletions(held, demand, keep_unacknowledged=keep, stuck=stuck)
    others = [file for file in held if file not in stuck]
    assert gone == plan_deletions(others, demand, keep_unacknowledged=keep)


@pytest.mark.parametrize(
    ("total", "free", "short"),
    [(0, 0, 0), (10**6, 10**6, 0), (10**6, 256, 0), (10**6, 0, 256), (100, 5, 0), (100, 2, 3)],
)
def test_inodes_are_kept_free_where_there_is_a_fixed_number(total, free, short):
    assert short_of_files(total, free) == short
    assert demand_of(QUOTA, StorageUsage(0, 0, short), None).files == short


def test_a_file_is_too_old_when_it_ended_before_the_limit():
    held = [stored(0, ended=9), stored(1, ended=10)]
    plan = plan_deletions(held, Demand(0, 10, None), keep_unacknowledged=True)
    assert plan == held[:1]


def test_a_sidecar_without_audio_goes_after_a_day_and_other_acknowledged_files_do_not():
    held = [stored(0, ended=9), stored(1, ended=9, orphan=True), stored(2, ended=10, orphan=True)]
    assert plan_deletions(held, Demand(0, None, 10), keep_unacknowledged=True) == [held[1]]


def test_without_limits_nothing_is_demanded():
    assert demand_of(QUOTA, StorageUsage(10**12, 0), None) == NOTHING


@pytest.mark.parametrize(
    ("quota", "stored_bytes", "free_bytes", "demanded"),
    [
        (replace(QUOTA, max_bytes=100), 100, 0, 0),
        (replace(QUOTA, max_bytes=100), 101, 0, 1),
        (replace(QUOTA, max_bytes=100, reserve_bytes=30), 101, 30, 31),
        (replace(QUOTA, min_free_bytes=50), 10**9, 50, 0),
        (replace(QUOTA, min_free_bytes=50), 0, 20, 30),
        (replace(QUOTA, min_free_bytes=50, reserve_bytes=30), 0, 20, 60),
        (replace(QUOTA, min_free_bytes=50, max_bytes=100), 110, 45, 10),
    ],
)
def test_room_is_demanded_for_both_limits_and_files_in_progress(
    quota, stored_bytes, free_bytes, demanded
):
    assert demand_of(quota, StorageUsage(stored_bytes, free_bytes), None).bytes == demanded


def test_ages_are_counted_back_from_a_known_time_only():
    quota = replace(QUOTA, max_age_ns=5)
    assert demand_of(quota, StorageUsage(0, 0), None).ended_before_ns is None
    later = 2 * ORPHAN_KEPT_NS
    assert demand_of(quota, StorageUsage(0, 0), later) == Demand(0, later - 5, ORPHAN_KEPT_NS)


def test_hours_left_is_what_fits_beside_what_must_stay():
    quota = replace(QUOTA, min_free_bytes=100, reserve_bytes=20)
    hour = 3600
    assert hours_left(quota, 100 + 20 + hour, 0, 500, bytes_per_s=1.0) == 1.0
    assert hours_left(quota, 100 + 20, 2 * hour, 500, bytes_per_s=1.0) == 2.0
    assert hours_left(quota, 50, 0, 500, bytes_per_s=1.0) == 0.0
    limited = replace(quota, max_bytes=500 + 20 + hour)
    assert hours_left(limited, 10**9, 0, 500, bytes_per_s=1.0) == 1.0


def test_turns_go_with_the_chunks_they_were_recorded_with():
    chunks = [replace(stored(n), start_frame=n * 1000) for n in range(2)]
    turns = [replace(stored(n), start_frame=n * 100 + 50) for n in range(15)]
    plan = plan_deletions(
        [*chunks, *turns], Demand(4 * chunks[0].bytes, None, None), keep_unacknowledged=True
    )
    assert plan == [chunks[0], *turns[:3]]

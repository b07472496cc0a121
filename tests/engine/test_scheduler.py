"""Nothing lost, nothing doubled, nothing starved, and the budget kept."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from transforms.engine.scheduler import BatchCostModel, Budget, Pool, ReturningCallers, partition

budgets = st.builds(
    Budget,
    max_rows=st.integers(1, 40),
    max_padded_tokens=st.integers(1, 600),
    overhead=st.floats(0, 500),
)
lengths = st.lists(st.integers(1, 200), max_size=120)


def _keeps(batch: list[int], budget: Budget) -> bool:
    return len(batch) <= budget.max_rows and (
        len(batch) == 1 or len(batch) * max(batch) <= budget.max_padded_tokens
    )


@given(lengths, budgets)
def test_runs_cover_everything_once_within_the_budget(found: list[int], budget: Budget) -> None:
    found.sort()
    runs = partition(found, budget)
    assert [i for start, stop in reversed(runs) for i in range(start, stop)] == [*range(len(found))]
    for start, stop in runs:
        batch = found[start:stop]
        assert _keeps(batch, budget)
        assert sum(max(batch) - length for length in batch) <= max(budget.overhead, 0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 99), st.booleans())), budgets)
def test_a_pool_gives_back_each_item_once(
    steps: list[tuple[str, int, bool]], budget: Budget
) -> None:
    pool: Pool[tuple[str, int, int]] = Pool()
    added, taken = [], []
    for i, (key, length, take) in enumerate(steps):
        pool.add(key, [length], [(key, length, i)])
        added.append((key, length, i))
        batches = [pool.take(lambda key: budget)] if take else []
        for batch in batches:
            assert len({key for key, _, _ in batch}) == 1
            assert _keeps([length for _, length, _ in batch], budget)
            taken += batch
    while batch := pool.take(lambda key: budget):
        taken += batch
    assert sorted(taken) == sorted(added)
    assert len(pool) == 0


@given(st.integers(1, 50), st.integers(1, 8))
def test_nothing_waits_for_ever(max_passes: int, arrivals: int) -> None:
    """A lonely long chunk is taken although better batches keep arriving."""
    pool: Pool[str] = Pool(max_passes)
    pool.add("lonely", [1], ["lonely"])
    budget = Budget(max_rows=8, max_padded_tokens=4096, overhead=100)
    for _ in range(4 * (max_passes + arrivals) + 8):
        pool.add("crowd", [100] * arrivals, ["crowd"] * arrivals)
        if "lonely" in pool.take(lambda key: budget):
            return
    raise AssertionError("it starved")


def test_keys_of_equal_batches_take_turns() -> None:
    pool: Pool[str] = Pool()
    budget = Budget(max_rows=64, max_padded_tokens=4096, overhead=100)
    for key in "ab":
        pool.add(key, [10] * 256, [key] * 256)
    taken = []
    for _ in range(12):
        batch = pool.take(lambda key: budget)
        taken.append(batch[0])
        pool.add(batch[0], [10] * len(batch), batch)  # its caller brings as many again
    assert 4 <= taken.count("a") <= 8


def test_the_cost_model_learns_what_a_batch_costs() -> None:
    cost = BatchCostModel(32)
    for i in range(40):
        tokens = 100 + 50 * (i % 7)
        cost.observe(tokens, 0.002 + tokens * 1e-5)
    assert 190 < cost.overhead < 210
    assert cost.start_seconds is not None
    assert 0.0019 < cost.start_seconds < 0.0021


def test_only_who_was_answered_a_moment_ago_is_waited_for() -> None:
    callers = ReturningCallers(0.02)
    assert callers.wait_seconds(100.0, None) == 0  # nobody was here
    callers.answered(100.0)
    assert callers.wait_seconds(100.001, None) == 0.02
    assert callers.wait_seconds(100.001, 0.005) == 0.005  # what a start costs is little
    assert callers.wait_seconds(100.021, None) == 0  # away for too long
    callers.answered(101.0)
    callers.arrived()
    assert callers.wait_seconds(101.001, None) == 0  # back
    callers.answered(102.0)
    callers.answered(102.015)
    callers.arrived()
    assert callers.wait_seconds(102.03, None) == 0.02
    never = ReturningCallers(0.0)
    never.answered(100.0)
    assert never.wait_seconds(100.0, None) == 0


@given(st.lists(st.tuples(st.sampled_from(["answered", "arrived", "asked"]), st.floats(0, 0.1))))
def test_waiting_for_callers_is_bounded(steps: list[tuple[str, float]]) -> None:
    callers, now, pending = ReturningCallers(0.02), 0.0, 0
    for what, passed in steps:
        now += passed
        if what == "answered":
            callers.answered(now)
            pending += 1
        elif what == "arrived":
            callers.arrived()
            pending = max(pending - 1, 0)
        else:
            seconds = callers.wait_seconds(now, None)
            assert seconds in (0.0, 0.02)
            assert pending or not seconds


def test_disturbed_batches_do_not_move_the_cost_model() -> None:
    cost = BatchCostModel(4096.0)
    for i in range(60):
        tokens = 8_000 + 3_000 * (i % 7)
        disturbed = 2.0 if i < 2 or i % 6 == 0 else 0.0
        cost.observe(tokens, 0.0005 + tokens / 1.8e6 + disturbed, (0.003, 0.004 + disturbed))
    assert 850 < cost.overhead < 950
    assert cost.tokens_per_second is not None
    assert 1.6e6 < cost.tokens_per_second < 1.8e6
    assert 6_000 < cost.hidden_tokens < 7_500


def test_batches_hide_the_launch_of_the_next_with_little_padding() -> None:
    chance = random.Random(0)
    # Like real texts: half of them short, a few very long.
    found = sorted(min(512, int(chance.lognormvariate(4.2, 1.1)) + 3) for _ in range(4096))
    budget = Budget(max_rows=1024, max_padded_tokens=62_000, overhead=500.0, hidden=11_600.0)
    runs = partition(found, budget)
    padded = [(stop - start) * found[stop - 1] for start, stop in runs]
    assert sum(padded) < sum(found) / 0.95
    assert sum(size < 7_750 for size in padded) <= 1  # what is left at the end

"""Nothing lost, nothing doubled, nothing starved, and the budget kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transforms.engine.scheduler import BatchCostModel, Budget, Pool, ReturningCallers, partition

budgets = st.builds(
    Budget,
    rows=st.integers(1, 40),
    tokens=st.integers(1, 600),
    overhead=st.floats(0, 500),
)
lengths = st.lists(st.integers(1, 200), max_size=120)


def _keeps(batch: list[int], budget: Budget) -> bool:
    return len(batch) <= budget.rows and (
        len(batch) == 1 or len(batch) * max(batch) <= budget.tokens
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
        pool.add(key, length, (key, length, i))
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
def test_nothing_waits_for_ever(patience: int, arrivals: int) -> None:
    """A lonely long chunk is taken although better batches keep arriving."""
    pool: Pool[str] = Pool(patience)
    pool.add("lonely", 1, "lonely")
    budget = Budget(rows=8, tokens=4096, overhead=100)
    for _ in range(4 * (patience + arrivals) + 8):
        for _ in range(arrivals):
            pool.add("crowd", 100, "crowd")
        if "lonely" in pool.take(lambda key: budget):
            return
    raise AssertionError("it starved")


def test_the_clock_learns_what_a_batch_costs() -> None:
    clock = BatchCostModel(32)
    for i in range(40):
        tokens = 100 + 50 * (i % 7)
        clock.observe(tokens, 0.002 + tokens * 1e-5)
    assert 190 < clock.overhead < 210
    assert clock.start is not None
    assert 0.0019 < clock.start < 0.0021


def test_only_who_was_answered_a_moment_ago_is_waited_for() -> None:
    company = ReturningCallers(0.02)
    assert company.patience(100.0, None) == 0  # nobody was here
    company.left(100.0)
    assert company.patience(100.001, None) == 0.02
    assert company.patience(100.001, 0.005) == 0.005  # what a start costs is little
    assert company.patience(100.021, None) == 0  # away for too long
    company.left(101.0)
    company.came()
    assert company.patience(101.001, None) == 0  # back
    company.left(102.0)
    company.left(102.015)
    company.came()
    assert company.patience(102.03, None) == 0.02
    never = ReturningCallers(0.0)
    never.left(100.0)
    assert never.patience(100.0, None) == 0


@given(st.lists(st.tuples(st.sampled_from(["left", "came", "asked"]), st.floats(0, 0.1))))
def test_patience_is_bounded(steps: list[tuple[str, float]]) -> None:
    company, now, away = ReturningCallers(0.02), 0.0, 0
    for what, seconds in steps:
        now += seconds
        if what == "left":
            company.left(now)
            away += 1
        elif what == "came":
            company.came()
            away = max(away - 1, 0)
        else:
            patience = company.patience(now, None)
            assert patience in (0.0, 0.02)
            assert away or not patience

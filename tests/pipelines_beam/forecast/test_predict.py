"""From measured rounds to what all rows take."""

from __future__ import annotations

import pytest

from pipelines_beam.forecast import predict
from pipelines_beam.forecast.measure import Round
from pipelines_beam.forecast.ranges import Range, relative_error
from transforms.engine.reports import BatchReport


def measured(rows: int, tokens: int, seconds: float, host: float = 0.0) -> Round:
    """A round whose model takes half of its time."""
    batch = BatchReport(rows=rows, tokens=tokens, padded=tokens, seconds=seconds / 2)
    return Round(rows, seconds, host, [batch])


ROUNDS = [measured(100, 1000, 1.0), measured(100, 3000, 3.0), measured(100, 2000, 2.0)]


def test_a_row_takes_the_pace_times_the_tokens_of_an_average_row() -> None:
    speed = predict.speed_of(ROUNDS, 1, accelerated=False)
    assert (speed.seconds_per_row, speed.tokens_per_row) == pytest.approx((0.02, 20))
    assert speed.seconds(1000, 0) == pytest.approx(20)
    assert speed.seconds(1000, 40_000) == pytest.approx(40)  # rows that are twice as long


def test_a_round_that_something_disturbed_does_not_move_the_pace() -> None:
    disturbed = [*ROUNDS[:2], measured(100, 2000, 60.0)]
    speed = predict.speed_of(disturbed, 1, accelerated=False)
    assert speed.seconds_per_row == pytest.approx(0.02)


def test_rounds_that_differ_make_the_range_wider() -> None:
    same = [measured(100, 1000, 1.0)] * 6
    assert predict.error_of(same, 1, accelerated=False) == 0
    slower = [*same[:-1], measured(100, 1000, 1.3)]
    longer = [*same[:-1], measured(100, 1300, 1.3)]
    for rounds in (slower, longer):
        assert 0.1 < predict.error_of(rounds, 1, accelerated=False) < 0.2


def test_a_few_long_rows_count_as_they_are() -> None:
    rounds = [measured(100, 1000, 1.0)] * 4 + [measured(100, 16_000, 16.0)]
    speed = predict.speed_of(rounds, 1, accelerated=False)
    assert speed.seconds_per_row == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("host", "processes", "seconds"),
    [(1.0, 1, 1.0), (1.0, 4, 0.5), (4.0, 4, 1.0), (8.0, 4, 1.0), (3.2, 4, 0.8)],
)
def test_beside_an_accelerator_processes_prepare_together(
    host: float, processes: int, seconds: float
) -> None:
    done = measured(100, 1000, 1.0, host)
    assert predict.round_seconds(done, processes, accelerated=True) == pytest.approx(seconds)
    assert predict.round_seconds(done, processes, accelerated=False) == 1.0


def test_what_is_not_the_model_is_the_host() -> None:
    assert predict.host_seconds(ROUNDS, accelerated=False) == pytest.approx(0.01)
    rounds = [measured(100, 1000, 1.0, host=0.4)]
    assert predict.host_seconds(rounds, accelerated=True) == pytest.approx(0.004)


def test_the_error_of_a_mean_falls_with_more_values() -> None:
    assert relative_error([1.0]) == 1.0
    assert relative_error([2.0, 2.0]) == 0.0
    # Half of the interval of scipy.stats.t.interval(0.95, 2, loc=2, scale=1 / 3**0.5).
    assert relative_error([1.0, 2.0, 3.0]) == pytest.approx(2.484 / 2, rel=0.01)
    assert relative_error([1.0, 2.0, 3.0] * 10) < 0.2


def test_the_range_has_the_start_for_certain() -> None:
    found = predict.Estimate(100.0, 0.2).range(10.0)
    assert found == Range(90.0, 110.0, 130.0)
    assert predict.Estimate(100.0, 0.2).range(10.0, 0.5) == Range(50.0, 60.0, 70.0)
    assert predict.Estimate(100.0, 1.5).range(0.0).low == 0.0


@pytest.mark.parametrize(
    ("shards", "workers", "share"), [(8, 4, 0.25), (9, 4, 1 / 3), (2, 4, 0.5), (1, 1, 1), (0, 2, 0)]
)
def test_the_worker_with_most_shards_is_waited_for(shards: int, workers: int, share: float) -> None:
    assert predict.share_of_worker(shards, workers) == pytest.approx(share)

"""How many rows are measured, and when that is enough."""

from __future__ import annotations

import pytest

from pipelines_beam.forecast.measure import Round, first_count, is_enough
from transforms.engine.reports import BatchReport


def measured(rows: int, seconds: float) -> Round:
    return Round(rows, seconds, 0.0, [BatchReport(rows=rows, seconds=seconds)])


@pytest.mark.parametrize(("of_row", "count"), [(0.0, 32), (0.001, 32), (0.5, 15), (10.0, 1)])
def test_slow_models_get_few_rows(of_row: float, count: int) -> None:
    assert first_count(measured(2, 2 * of_row), seconds=60.0) == count


def test_five_rounds_that_agree_are_enough() -> None:
    assert not is_enough([measured(100, 1.0)] * 4)
    assert is_enough([measured(100, 1.0)] * 5)
    apart = [measured(100, seconds) for seconds in (1.0, 2.0, 1.0, 2.0, 1.0)]
    assert not is_enough(apart)


def test_rows_without_a_length_count_as_tokens() -> None:
    assert measured(100, 1.0).tokens == 100
    batch = BatchReport(rows=100, tokens=300, padded=400, seconds=1.0)
    assert Round(100, 1.0, 0.0, [batch]).tokens == 400

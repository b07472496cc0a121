"""What is said of a job at one moment."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines_beam.progress.snapshot import Rate, Snapshot, as_event, described, duration


def snapshot(**values: Any) -> Snapshot:
    return Snapshot(**{"seconds": 4.0, "done": 50, "computed": 50, "failed": 0, **values})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"done": 0, "computed": 0}, "0 rows, loading model … 0:04"),
        ({"done": 0, "computed": 0, "total": 9}, "0 %: 0 of 9 rows, loading model … 0:04"),
        ({"rate": 12.5}, "50 rows, 12 rows/s"),
        (
            {"total": 2000, "rate": 2.5, "failed": 3},
            "2 %: 50 of 2,000 rows, 3 failed, 2.5 rows/s, 13:00 left",
        ),
        ({"total": 50, "is_about": True}, "100 %: 50 of about 50 rows"),
        (
            {"mean_batch": 31.46, "padding": 4.4, "busy": 90.0},
            "50 rows, batches of 31.5, 4 % padding, model 90 % busy",
        ),
        ({"done": 0, "computed": 0, "is_seen": False}, "running on other machines … 0:04"),
    ],
)
def test_the_line(values: dict[str, Any], said: str) -> None:
    assert described(snapshot(**values)) == said


def test_a_resumed_job_begins_where_it_was_stopped() -> None:
    begun = snapshot(done=500, computed=0, total=1000)
    assert begun.is_loading
    assert begun.share == 0.5
    assert not snapshot(done=1000, computed=0, total=1000).is_loading


def test_an_estimate_is_never_done_before_the_job_is() -> None:
    assert snapshot(done=999, total=1000, is_about=True).share == 0.99
    assert snapshot(done=999, total=1000).share == 0.999


def test_unknown_numbers_are_null_for_programs() -> None:
    event = as_event(snapshot())
    assert event["rows_done"] == 50
    unknown = ("rows_total", "percent", "rows_per_second", "seconds_left", "mean_batch")
    assert [event[name] for name in unknown] == [None] * 5
    assert as_event(snapshot(total=200, rate=30.0))["seconds_left"] == 5


def test_the_rate_is_that_of_the_last_minute() -> None:
    rate = Rate()
    assert rate.add(0.0, 0) is None
    assert rate.add(10.0, 0) is None  # loading the model is not part of it
    assert rate.add(12.0, 100) == 50.0
    found = [rate.add(12.0 + second, 100 + 10 * second) for second in range(1, 100)]
    assert found[-1] == pytest.approx(10.0)


@pytest.mark.parametrize(("seconds", "text"), [(62, "1:02"), (3723.4, "1:02:03")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text

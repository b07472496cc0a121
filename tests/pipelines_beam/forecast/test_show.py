"""A forecast as people read it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pipelines_beam.forecast.failures import ExpectedFailures
from pipelines_beam.forecast.forecast import Forecast
from pipelines_beam.forecast.ranges import Histogram, Range
from pipelines_beam.forecast.show import duration, nbytes, plot

SIZES = Histogram.of("tokens", [4.0] * 6 + [20.0] * 3 + [64.0])
FORECAST = Forecast(
    task="text-classification",
    model="my/model",
    format="parquet",
    files=40,
    input_bytes=3_200_000_000,
    rows=10_000_000,
    rows_done=0,
    rows_counted=True,
    shards=1000,
    sizes=SIZES,
    sample_rows=9000,
    measured_rows=9000,
    sample_seconds=55.0,
    device="a processor",
    source="on this machine",
    batch_rows=97.3,
    padding=0.062,
    memory=2_100_000_000,
    model_bytes=260_000_000,
    start_seconds=14.0,
    seconds=Range(9000.0, 10_000.0, 11_000.0),
    workers=1,
    seconds_of_workers=Range(9000.0, 10_000.0, 11_000.0),
    worker_hours=Range(2.5, 2.778, 3.056),
    accelerator_hours=None,
    price_per_hour=None,
    price=None,
    output_bytes=3_400_000_000,
)


def test_a_plain_forecast() -> None:
    assert str(FORECAST).splitlines()[:10] == [
        "text-classification with my/model",
        "  rows        10,000,000",
        "  input       40 files of parquet, 3.2 GB",
        "  output      1,000 files, about 3.4 GB",
        "  measured    9,000 rows in 55 s, on this machine: a processor",
        "  batches     97.3 rows on average, 6% padding",
        "  memory      2.1 GB at most, 260 MB of them the model",
        "  start       14 s until the first row",
        "  time        2 h 47 min (2 h 30 min to 3 h 03 min)",
        "",
    ]


def test_what_is_asked_for_or_known_is_shown() -> None:
    failure = ExpectedFailures("forward", "TooLongError", "it has\n600 tokens", 9, 10_000)
    text = str(
        replace(
            FORECAST,
            workers=4,
            rows_done=5,
            rows_counted=False,
            accelerator_hours=Range(1, 2, 3),
            price=Range(10, 12.5, 15),
            output_bytes=None,
            sizes=None,
            failures=[failure],
            warnings=["something"],
        )
    )
    for line in (
        "  rows        about 10,000,000, beside about 5 that are done",
        "  output      1,000 files\n",
        "  4 workers   2 h 47 min (2 h 30 min to 3 h 03 min)",
        "  in all      2.78 (2.5 to 3.06) worker-hours",
        "  accelerator 2 (1 to 3) hours",
        "  price       12.50 (10.00 to 15.00)",
        "  about 10,000 (9 of the sample): TooLongError in forward\n    it has 600 tokens",
        "\n\nwarning: something",
    ):
        assert line in text


def test_the_plot_has_a_bar_for_each_class() -> None:
    assert SIZES is not None
    lines = list(plot(SIZES))
    assert lines[0] == "tokens per row: 14.8 on average, 64 at most"
    assert len(lines) == 9
    assert lines[1].split() == ["4", "to", "11", "█" * 32, "60.0%"]
    assert lines[-1].split()[-1] == "10.0%"
    assert sum(float(line.split()[-1].rstrip("%")) for line in lines[1:]) == pytest.approx(100)


def test_sizes_that_differ_much_are_classes_that_double() -> None:
    found = Histogram.of("tokens", [1.0, 10.0, 100.0, 10_000.0])
    assert found is not None
    assert found.edges[1] - found.edges[0] < 10 < 1000 < found.edges[-1] - found.edges[-2]
    assert sum(found.shares) == pytest.approx(1)


def test_equal_sizes_are_one_class() -> None:
    found = Histogram.of("pixels", [50_176.0] * 3)
    assert found is not None
    assert list(plot(found))[1].split()[0] == "50,176"
    assert found.shares == (1.0,)


def test_without_sizes_there_is_no_plot() -> None:
    assert Histogram.of("tokens", []) is None
    assert Histogram.of("", [1.0]) is None


def test_hours_that_a_job_may_have() -> None:
    assert not FORECAST.exceeds(4)
    assert FORECAST.exceeds(3)  # the upper end is 3.06
    assert FORECAST.exceeds(1)


def test_all_of_it_is_json() -> None:
    found = json.loads(json.dumps(FORECAST.as_dict()))
    assert found["seconds"] == {"low": 9000.0, "value": 10_000.0, "high": 11_000.0}
    assert found["sizes"]["unit"] == "tokens"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (4.23, "4.2 s"),
        (59.4, "59 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (273_600, "3 days 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(312, "312 bytes"), (4200, "4.2 kB"), (999_000, "999 kB"), (2e15, "2 PB")]
)
def test_sizes_in_bytes(count: float, text: str) -> None:
    assert nbytes(count) == text

"""What a job over files will take, as numbers and as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .failures import ExpectedFailures
from .ranges import Histogram, Range
from .show import duration, durations, nbytes, number_range, plot


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a job over files will take. Seconds are of wall time, sizes are bytes."""

    task: str
    model: str
    format: str
    files: int
    input_bytes: int
    #: Rows to compute, and those that are computed already.
    rows: int
    rows_done: int
    #: Whether the rows are counted: else they are estimated.
    rows_counted: bool
    shards: int
    sizes: Histogram | None
    #: Rows of the sample; how many rows were measured, of a small job some several times; and how
    #: long that took.
    sample_rows: int
    measured_rows: int
    sample_seconds: float
    #: Where the speed comes from: "this machine", or that of a profile.
    device: str
    source: str
    #: Rows of an average batch, and the share of padding in batches.
    batch_rows: float
    padding: float
    #: Most memory of a process, and the model in it.
    memory: int
    model_bytes: int
    #: Before the first row: checks and imports, and loading the model.
    start_seconds: float
    #: Of the whole job, on this machine, or the profile's, alone.
    seconds: Range
    workers: int
    #: Of the whole job with so many workers, and the sum over them.
    seconds_of_workers: Range
    worker_hours: Range
    #: Hours that accelerators are held; None where none computes.
    accelerator_hours: Range | None
    price_per_hour: float | None
    price: Range | None
    #: None where the model has not answered a row of the sample.
    output_bytes: int | None
    failures: Sequence[ExpectedFailures] = ()
    warnings: Sequence[str] = ()

    def exceeds(self, hours: float) -> bool:
        """Whether the job may take longer than some hours, by the upper end of its range."""
        return self.seconds_of_workers.high > hours * 3600

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return asdict(self)

    def __str__(self) -> str:
        """All of it for people."""
        return "\n".join(_lines(self))


def _lines(forecast: Forecast) -> Iterator[str]:
    """The lines of the text."""
    yield f"{forecast.task} with {forecast.model}"
    for name, value in _facts(forecast):
        yield f"  {name:<12}{value}"
    if forecast.sizes is not None:
        yield ""
        yield from plot(forecast.sizes)
    if forecast.failures:
        yield ""
        yield "rows that will fail"
        for each in forecast.failures:
            of_sample = f"{each.in_sample:,} of the sample"
            yield f"  about {each.expected:,} ({of_sample}): {each.error} in {each.stage}"
            yield f"    {' '.join(each.message.split())[:200]}"
    if forecast.warnings:
        yield ""
        yield from (f"warning: {each}" for each in forecast.warnings)


def _facts(forecast: Forecast) -> Iterator[tuple[str, str]]:
    about = "" if forecast.rows_counted else "about "
    rows = f"{about}{forecast.rows:,}"
    if forecast.rows_done:
        rows += f", beside {about}{forecast.rows_done:,} that are done"
    yield "rows", rows
    yield "input", f"{forecast.files:,} files of {forecast.format}, {nbytes(forecast.input_bytes)}"
    size = "" if forecast.output_bytes is None else f", about {nbytes(forecast.output_bytes)}"
    yield "output", f"{forecast.shards:,} files{size}"
    yield "measured", _measured(forecast)
    yield "batches", f"{forecast.batch_rows:.3g} rows on average, {forecast.padding:.0%} padding"
    of_model = f", {nbytes(forecast.model_bytes)} of them the model" if forecast.model_bytes else ""
    yield "memory", f"{nbytes(forecast.memory)} at most{of_model}"
    yield "start", f"{duration(forecast.start_seconds)} until the first row"
    yield "time", durations(forecast.seconds)
    if forecast.workers > 1:
        yield f"{forecast.workers} workers", durations(forecast.seconds_of_workers)
        yield "in all", f"{number_range(forecast.worker_hours)} worker-hours"
    if forecast.accelerator_hours is not None:
        yield "accelerator", f"{number_range(forecast.accelerator_hours)} hours"
    if forecast.price is not None:
        price = forecast.price
        yield "price", f"{price.value:,.2f} ({price.low:,.2f} to {price.high:,.2f})"


def _measured(forecast: Forecast) -> str:
    rows = f"{forecast.measured_rows:,} rows"
    if forecast.measured_rows > forecast.sample_rows:
        rows += f", of {forecast.sample_rows:,} that differ,"
    took = duration(forecast.sample_seconds)
    return f"{rows} in {took}, {forecast.source}: {forecast.device}"

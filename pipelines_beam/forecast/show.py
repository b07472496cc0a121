"""A forecast as text for people."""

from __future__ import annotations

from collections.abc import Iterator

from .forecast import Forecast, Histogram, Range

_BAR = 32  # characters
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def lines(forecast: Forecast) -> Iterator[str]:
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
    yield "time", _durations(forecast.seconds)
    if forecast.workers > 1:
        yield f"{forecast.workers} workers", _durations(forecast.seconds_of_workers)
        yield "in all", f"{_hours(forecast.worker_hours)} worker-hours"
    if forecast.accelerator_hours is not None:
        yield "accelerator", f"{_hours(forecast.accelerator_hours)} hours"
    if forecast.price is not None:
        price = forecast.price
        yield "price", f"{price.value:,.2f} ({price.low:,.2f} to {price.high:,.2f})"


def _measured(forecast: Forecast) -> str:
    took = f"{forecast.sample_rows:,} rows in {duration(forecast.sample_seconds)}"
    return f"{took}, {forecast.source}: {forecast.device}"


def plot(sizes: Histogram) -> Iterator[str]:
    """A bar for each class of sizes."""
    yield f"{sizes.unit} per row: {_number(sizes.mean)} on average, {_number(sizes.most)} at most"
    most = max(sizes.shares)
    names = [_class(sizes, i) for i in range(len(sizes.shares))]
    width = max(map(len, names))
    for name, share in zip(names, sizes.shares, strict=True):
        bar = "█" * round(_BAR * share / most) or ("▏" if share else "")
        yield f"  {name:>{width}}  {bar:<{_BAR}} {share:>6.1%}"


def _class(sizes: Histogram, i: int) -> str:
    low, high = sizes.edges[i], sizes.edges[i + 1]
    if low.is_integer() and high.is_integer() and i < len(sizes.shares) - 1:
        high -= 1  # sizes at an edge belong to the next class
    high = min(high, sizes.most)
    return _number(low) if low >= high else f"{_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value.is_integer() else f"{value:.3g}"


def _durations(seconds: Range) -> str:
    low, high = duration(seconds.low), duration(seconds.high)
    return f"{duration(seconds.value)} ({low} to {high})"


def _hours(hours: Range) -> str:
    return f"{hours.value:,.3g} ({hours.low:,.3g} to {hours.high:,.3g})"


def duration(seconds: float) -> str:
    """Seconds as people say them: 4.2 s, 3 min 20 s, 2 h 05 min, 3 days 4 h."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24:,} days {hours % 24} h"


def nbytes(count: float) -> str:
    """Bytes as people say them: 312 bytes, 4.2 MB."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.2g} {unit}"

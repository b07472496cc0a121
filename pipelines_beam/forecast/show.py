"""Numbers of a forecast as text for people."""

from __future__ import annotations

from collections.abc import Iterator

from .ranges import Histogram, Range

_BAR = 32  # characters
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


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


def durations(seconds: Range) -> str:
    """Seconds with their range."""
    low, high = duration(seconds.low), duration(seconds.high)
    return f"{duration(seconds.value)} ({low} to {high})"


def number_range(number: Range) -> str:
    """A number with its range."""
    return f"{number.value:,.3g} ({number.low:,.3g} to {number.high:,.3g})"


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

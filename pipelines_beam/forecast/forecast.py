"""What a job over files will take, as numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from .failures import ExpectedFailures

#: Two-sided 95 % of Student's t distribution, by degrees of freedom.
_STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14)
_NORMAL = 1.96
_BARS = 8


@dataclass(frozen=True)
class Range:
    """A number that is not known exactly."""

    low: float
    value: float
    high: float

    def __mul__(self, factor: float) -> Range:
        """All three times a factor."""
        return Range(self.low * factor, self.value * factor, self.high * factor)

    def __add__(self, more: float) -> Range:
        """All three and something that is known exactly."""
        return Range(self.low + more, self.value + more, self.high + more)

    @classmethod
    def around(cls, value: float, share: float) -> Self:
        """From a share below a value to a share above."""
        return cls(value * max(1 - share, 0.0), value, value * (1 + share))


def relative_error(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean of measured values, as a share of it.

    One value tells nothing about others: then it is 1.
    """
    if len(values) < 2:
        return 1.0
    found = np.array(values, float)
    student = (*_STUDENT, *[_NORMAL] * len(values))[len(values) - 2]
    return float(student * found.std(ddof=1) / math.sqrt(len(values)) / max(found.mean(), 1e-12))


@dataclass(frozen=True)
class Histogram:
    """How many of the rows have which size."""

    unit: str
    #: One more than there are shares.
    edges: tuple[float, ...]
    shares: tuple[float, ...]
    mean: float
    most: float

    @classmethod
    def of(cls, unit: str, sizes: Sequence[float]) -> Histogram | None:
        """That of some sizes; None without any."""
        if not unit or not len(sizes):
            return None
        found = np.array(sizes, float)
        counts, edges = np.histogram(found, bins=_edges(found))
        shares = tuple(float(each) for each in counts / len(found))
        return cls(unit, tuple(map(float, edges)), shares, float(found.mean()), float(found.max()))


def _edges(sizes: np.ndarray) -> np.ndarray:
    """Edges of about eight bars: equally wide, or doubling where sizes differ much."""
    low, high = float(sizes.min()), float(sizes.max())
    whole = bool((sizes == np.rint(sizes)).all())
    if low == high:
        return np.array([low, low + (1 if low >= 1 else max(low, 1e-9))])
    if low > 0 and high / low > 2 * _BARS:
        edges = np.geomspace(low, high, _BARS + 1)
        return np.unique(np.rint(edges)) if whole else edges
    if whole:
        step = math.ceil((high - low + 1) / _BARS)
        return np.arange(low, high + step + 1, step)
    return np.linspace(low, high, _BARS + 1)


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
    #: Rows that were measured, and how long that took.
    sample_rows: int
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
        from .show import lines

        return "\n".join(lines(self))

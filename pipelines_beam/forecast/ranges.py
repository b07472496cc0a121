"""Numbers that are not known exactly, and how sizes are distributed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

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

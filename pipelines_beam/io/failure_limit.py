"""When a job over files stops because too many of its rows fail."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transforms.options.shown import shown

from .failure_counts import FailureCounts
from .output import Output
from .plan import Plan, plans

_LEAST = 100  # rows, before a share of them says anything
_GENTLE = 20  # looking takes at most a twentieth of the time,
_SHORT = 0.05  # unless it takes less than these seconds
_REASONS = 3


class TooManyFailuresError(RuntimeError):
    """More rows of a job have failed than it may have."""


@dataclass(frozen=True)
class FailureLimit:
    """How many rows may fail: a number of rows, or a share of those that are done."""

    count: int | None = None
    share: float | None = None

    @classmethod
    def of(cls, given: Any) -> FailureLimit:
        """That of a text or number, such as "1%" or 100. Raises ValueError for anything else."""
        text = str(given).strip()
        match = re.fullmatch(r"(\d+)|(\d+(?:\.\d+)?) ?%", text)
        if match is None or (match[2] and float(match[2]) > 100) or isinstance(given, bool):
            raise ValueError(
                "max_failures must be a number of rows, such as 100, or a share of them, such as "
                f'"1%": got {shown(given)}'
            )
        return cls(int(match[1])) if match[1] else cls(share=float(match[2]) / 100)

    def is_exceeded(self, failed: int, done: int) -> bool:
        """Whether too many rows have failed, of those that are done."""
        if self.share is None:
            return failed > (self.count or 0)
        return done >= _LEAST and failed > self.share * done

    def __str__(self) -> str:
        return f"{self.count:,}" if self.share is None else f"{100 * self.share:g}%"


class FailureGuard:
    """Looks how many rows of an output have failed, in whatever process they were computed."""

    def __init__(self, output: Output, limit: FailureLimit) -> None:
        self._output = output
        self._limit = limit
        self._failed = FailureCounts(output)
        self._plans: Sequence[Plan] | None = None
        self._due = 0.0

    def __reduce__(self) -> Any:
        return FailureGuard, (self._output, self._limit)

    def check(self) -> None:
        """Raises TooManyFailuresError; looks only now and then where that takes long."""
        start = time.monotonic()
        if start < self._due:
            return
        failed, done = self._counts()
        took = time.monotonic() - start
        self._due = start + (_GENTLE * took if took > _SHORT else 0)
        if self._limit.is_exceeded(failed, done):
            raise TooManyFailuresError(self._message(failed, done))

    def error(self) -> TooManyFailuresError | None:
        """The error to be raised if too many rows have failed, with their commonest reasons."""
        failed, done = self._counts()
        if not self._limit.is_exceeded(failed, done):
            return None
        common = self._failed.reasons().most_common(_REASONS)
        reasons = "; ".join(f"{count:,} x {reason}" for reason, count in common)
        return TooManyFailuresError(f"{self._message(failed, done)}: {reasons}")

    def _counts(self) -> tuple[int, int]:
        """How many rows of the shards that are written have failed, and how many they have."""
        if self._plans is None:
            self._plans = plans(self._output)
        names = self._output.names()
        done = sum(int(plan.rows[plan.is_done(names)].sum()) for plan in self._plans)
        return self._failed.count(set(names)), done

    def _message(self, failed: int, done: int) -> str:
        return (
            f"too many rows failed: {failed:,} of {done:,} that are done, and max_failures is "
            f"{self._limit}"
        )

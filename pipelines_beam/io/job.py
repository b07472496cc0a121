"""A job over files: what is to be computed, and what is there already."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from .audit.options import AuditOptions
from .failure_limit import FailureGuard, TooManyFailuresError
from .formats import FORMATS
from .output import JOB, Output
from .plan import Plan, Segment

#: What the job is, in its output.
ABOUT = f"{JOB}/job.json"


class NoJobError(FileNotFoundError):
    """There is no job over files at a path."""


@dataclass(frozen=True)
class Written:
    """What a job has written, as far as it is planned."""

    shards: int
    #: Those that the shards come from, failed ones among them.
    rows: int


@dataclass(frozen=True)
class Job:
    """What is to be computed."""

    output: Output
    segments: tuple[Segment, ...]
    #: How many shards there are to be in all, and how many of them are written.
    shards: int
    done: int
    #: How many rows the written ones come from.
    rows_done: int = 0
    plans: tuple[Plan, ...] = ()
    #: Of each plan, the shards that are left out, since their files are gone.
    lost: tuple[np.ndarray, ...] = ()
    format: str = "parquet"
    #: The columns that are read.
    schema: pa.Schema = field(default_factory=lambda: pa.schema([]))
    #: Whether only some of the rows are read.
    is_limited: bool = False
    guard: FailureGuard | None = None
    #: What is audited of it; None for nothing.
    audit: AuditOptions | None = None
    #: Whether rows may have answers that are not computed for them: see dedupe and cache.
    takes_answers: bool = False

    @property
    def counts_rows(self) -> bool:
        """Whether the numbers of rows are counted: else they are estimated from bytes."""
        return FORMATS[self.format].counts_rows

    @property
    def rows(self) -> int:
        """How many rows there are to be in all, failed ones among them."""
        return sum(int(plan.rows[~lost].sum()) for plan, lost in self._plans())

    def written(self) -> Written:
        """What is written now."""
        names = self.output.names()
        done = [(plan, plan.is_done(names) & ~lost) for plan, lost in self._plans()]
        return Written(
            sum(int(each.sum()) for _, each in done),
            sum(int(plan.rows[each].sum()) for plan, each in done),
        )

    def excess(self) -> TooManyFailuresError | None:
        """The error to raise if more rows have failed than may; None if not."""
        return None if self.guard is None else self.guard.error()

    def _plans(self) -> Iterable[tuple[Plan, np.ndarray]]:
        return zip(self.plans, self.lost, strict=True)


def about_job(output: Output) -> dict[str, Any]:
    """What an output says of the job that began it. Raises NoJobError."""
    try:
        found: dict[str, Any] = json.loads(output.read(ABOUT))
    except FileNotFoundError:
        raise NoJobError(f"{output.uri}: no job over files has begun it") from None
    return found

"""What a running job has done so far, from wherever it can be known.

Rows are counted in this process and in worker processes as they are answered; those of a cluster
are seen if they can reach the folder of counts. Wherever workers are, the files that appear in the
output of ProcessFiles tell it, too. The larger number counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from transforms.stages import live_counts, metrics
from transforms.stages.metrics import Counts

from ..io.failure_counts import FailureCounts
from ..io.job import Job, Written
from .snapshot import Rate, Snapshot

T = TypeVar("T")

#: Looking takes at most a twentieth of the time.
_GENTLE = 20
_INTERVAL = 2.0  # seconds, at least


class _Polled(Generic[T]):
    """A value that is asked for now and then: the longer it takes, the more rarely."""

    def __init__(self, ask: Callable[[], T], interval: float, first: T) -> None:
        self._ask = ask
        self._interval = interval
        self._value = first
        self._due = 0.0

    def __call__(self, *, now: bool = False) -> T:
        start = time.monotonic()
        if now or start >= self._due:
            try:
                self._value = self._ask()
            except Exception:  # of any store or runner: the job itself says what is wrong
                self._interval *= 2
            took = time.monotonic() - start
            self._due = start + took + max(self._interval, _GENTLE * took)
        return self._value


class Watch:
    """Watches a job.

    Args:
      jobs: its jobs over files.
      folder: where worker processes keep their counts; see live_counts.
      reads: finds the number of rows that other steps give to models, which may take long; None
        where there are no such steps. Its result is None if the number cannot be known.
      unit: what is counted.
      is_local: whether workers are on this machine.
      is_shared: whether workers elsewhere keep their counts in the folder: else rows are seen in
        the output alone.

    """

    def __init__(
        self,
        jobs: Sequence[Job],
        folder: str,
        *,
        reads: Callable[[], int | None] | None = None,
        unit: str = "rows",
        is_local: bool = True,
        is_shared: bool = False,
    ) -> None:
        self._jobs = jobs
        self._folder = folder
        self._unit = unit
        self._is_seen = is_local or is_shared
        self._counts = _Polled(self._look_at_counts, 0.0 if is_local else _INTERVAL, Counts())
        self._reads = reads
        self._read_rows: int | None = None
        self._start = time.monotonic()
        self._rate = Rate()
        self._before = sum(job.rows_done for job in jobs)
        self._failed_rows = [FailureCounts(job.output) for job in jobs]
        self._written = _Polled(self._look, _INTERVAL, Written(0, self._before))
        self._failed = _Polled(self._count_failed, _INTERVAL, 0)

    def find_total(self) -> None:
        """Find how many rows other steps read. It may take long: not in the way of the job."""
        if self._reads is not None:
            self._read_rows = self._reads()

    def snapshot(self, *, last: bool = False) -> Snapshot:
        """How far the job is; `last`: looks once more, however long ago the look before was."""
        live = metrics.counts() + self._counts(now=last)
        written = self._written(now=last).rows - self._before
        computed = max(live.answered + live.failed, written)
        seconds = time.monotonic() - self._start
        total, done = self._total(), self._before + computed
        # Rows without an input fail before the model is there.
        computed = computed if live.answered or written else 0
        return Snapshot(
            seconds=seconds,
            done=done,
            computed=computed,
            failed=max(self._failed(now=last), live.failed),
            total=None if total is None else max(total, done),
            is_about=any(not job.counts_rows for job in self._jobs),
            rate=self._rate.add(seconds, computed),
            unit=self._unit,
            is_seen=self._is_seen or bool(self._jobs or computed),
            **_of_batches(live),
        )

    def _total(self) -> int | None:
        rows = sum(job.rows for job in self._jobs)
        if self._reads is None:
            return rows if self._jobs else None
        return None if self._read_rows is None else rows + self._read_rows

    def _look_at_counts(self) -> Counts:
        return live_counts.of_other_processes(self._folder)

    def _look(self) -> Written:
        found = [job.written() for job in self._jobs]
        return Written(sum(each.shards for each in found), sum(each.rows for each in found))

    def _count_failed(self) -> int:
        return sum(each.count() for each in self._failed_rows)


def _of_batches(counts: metrics.Counts) -> dict[str, Any]:
    """What is known of the batches so far."""
    time = counts.busy + counts.idle
    return {
        "mean_batch": counts.rows / counts.batches if counts.batches else None,
        "padding": 100 * (1 - counts.tokens / counts.padded) if counts.padded else None,
        "busy": 100 * counts.busy / time if time else None,
    }

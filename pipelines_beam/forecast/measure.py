"""A sample of a job's rows through its own stages and engine, measured on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from transforms import TaskTransform
from transforms.engine.reports import BatchReport, LoadReport, Report
from transforms.rows.tables import chosen
from transforms.stages.tables import TableFn

from ..io.formats import ROW
from ..io.output import as_parquet
from .failures import FoundFailures
from .sample import Sample

_WARM_UP = 2  # rows: the first batches of a model are slow
_FIRST, _MOST = 32, 4096  # rows of a round; the engine sorts 2,048 by length
_ROUNDS = 12
_ENOUGH = 5  # rounds, if they differ by less than:
_CLOSE = 0.03  # the standard error of their mean
_PART = 1 / 8  # of the seconds: what a round should take


class _MeasuredFn(TableFn):
    """The step of the job that computes tables, which keeps what its engine reports."""

    def __init__(self, task: TaskTransform) -> None:
        plan = replace(task.plan.pinned, is_whole=True)
        stages = (plan.preprocess, plan.postprocess)
        super().__init__(
            plan.spec, True, plan.binding, *stages, for_engine=plan.for_engine, reuses=False
        )
        self.reports: list[Report] = []

    def _add_reports(self, reports: Sequence[Report]) -> None:
        self.reports += reports


@dataclass
class Round:
    """Some rows from all over the inputs, computed."""

    rows: int
    seconds: float
    #: Processor time of this process.
    host_seconds: float
    batches: Sequence[BatchReport] = ()
    #: Of the results, as files.
    nbytes: int = 0
    answered: int = 0
    write_seconds: float = 0.0
    read_seconds: float = 0.0

    @property
    def compute_seconds(self) -> float:
        """In the model."""
        return sum(each.seconds for each in self.batches)

    @property
    def tokens(self) -> int:
        """With padding; rows, where nothing has a length."""
        return sum(each.padded for each in self.batches) or self.rows

    @property
    def all_seconds(self) -> float:
        """With reading and writing."""
        return self.seconds + self.read_seconds + self.write_seconds


class Measured:
    """The engine of a job on this machine, and what it took for rounds of rows."""

    def __init__(self, task: TaskTransform, sample: Sample) -> None:
        self._fn = _MeasuredFn(task)
        self._sample = sample
        self.load_seconds = self.seconds = 0.0
        self.model_bytes = self.memory = 0
        #: The rounds that count, all of about the same size.
        self.rounds: list[Round] = []
        #: Rows that were computed, those of them that differ, and those of these that failed. A
        #: small job has fewer rows than are measured: they are computed several times.
        self.rows = self.different_rows = 0
        self.failures = FoundFailures()
        self._failed: set[int] = set()
        self.input_tables: list[pa.Table] = []

    def __enter__(self) -> Self:
        """Load the model."""
        self._fn.setup()
        return self

    def __exit__(self, *error: Any) -> None:
        """Close the engine."""
        self._fn.teardown()

    def measure(self, seconds: float) -> None:
        """Compute rounds until they tell enough, or the time is up; at least one.

        The first rounds find out how many rows a round may have.
        """
        count = first_count(self._round(_WARM_UP), seconds)
        begin = time.perf_counter()
        while len(self.rounds) < _ROUNDS:
            done = self._round(count)
            if done.rows == 0:
                break
            if self._may_grow(done, count, seconds):
                count *= 2 if done.all_seconds > _PART * seconds / 4 else 4
                self.rounds.clear()
            self.rounds.append(done)
            self.seconds = time.perf_counter() - begin
            if is_enough(self.rounds) or seconds - self.seconds < done.all_seconds:
                break

    def _may_grow(self, done: Round, count: int, seconds: float) -> bool:
        """Whether rounds are to become larger: what starting one costs counts less then.

        Only the first of a size decides, since what later ones have told would be lost.
        """
        if len(self.rounds) > 1:
            return False
        most = min(_MOST, max(self._sample.rows // 2, _FIRST))
        return done.all_seconds < _PART * seconds / 2 and 2 * count <= most

    def _round(self, count: int) -> Round:
        read = self._sample.read_seconds
        places = min(8, max(1, count // 8))
        tables = list(self._sample.tables(count, places))
        # Reading takes whole shards, of which a round takes a part.
        seconds = self._sample.read_seconds - read
        done = self._computed(tables)
        done.read_seconds = seconds
        self.rows += done.rows
        new = [found for table in tables if len(found := self._sample.first_seen(table))]
        self.different_rows += sum(map(len, new))
        self.input_tables += new
        return done

    def _computed(self, tables: Sequence[pa.Table]) -> Round:
        """The tables through the stages, as a bundle of their own."""
        self._fn.reports.clear()
        start, host = time.perf_counter(), time.process_time()
        self._fn.start_bundle()
        results: list[Any] = []
        for table in tables:
            results += self._fn.process(table, WindowedValue(table, 0, (GlobalWindow(),)))
        results += self._fn.finish_bundle()
        seconds, host = time.perf_counter() - start, time.process_time() - host
        rows = sum(map(len, tables))
        done = Round(rows, seconds, host, self._take_batches())
        self._add_results(done, results)
        return done

    def _add_results(self, done: Round, results: Iterable[Any]) -> None:
        """Note which rows failed, and how large the others are in a file."""
        answered = []
        for each in results:
            if isinstance(each, TaggedOutput):
                self._add_failures(each.value.value)
            else:
                answered.append(each.value)
        if not answered:
            return
        table = pa.concat_tables(answered).drop_columns([ROW])
        start = time.perf_counter()
        nbytes = len(as_parquet(table))
        done.write_seconds = time.perf_counter() - start
        done.answered = len(table)
        done.nbytes = max(nbytes - len(as_parquet(table.slice(0, 0))), 0)

    def _add_failures(self, failed: pa.Table) -> None:
        """Note rows that failed, each once."""
        rows = failed["element"].combine_chunks().field(ROW).to_pylist()
        new = [i for i, row in enumerate(rows) if row not in self._failed]
        self._failed.update(rows)
        self.failures.add_table(chosen(failed, new))

    def _take_batches(self) -> list[BatchReport]:
        for each in self._fn.reports:
            if isinstance(each, LoadReport):
                self.load_seconds, self.model_bytes = each.seconds, each.nbytes
        batches = [each for each in self._fn.reports if isinstance(each, BatchReport)]
        return [each for each in batches if not each.split]


def first_count(warm_up: Round, seconds: float) -> int:
    """Rows of the first round: few where a model takes seconds for each."""
    of_row = warm_up.compute_seconds / max(warm_up.rows, 1)
    return max(1, int(min(_FIRST, _PART * seconds / max(of_row, 1e-9))))


def is_enough(rounds: Sequence[Round]) -> bool:
    """Whether rounds tell the average well enough to end before the time is up."""
    if len(rounds) < _ENOUGH:
        return False
    paces = np.array([each.seconds / each.rows for each in rounds])
    return bool(paces.std(ddof=1) / len(paces) ** 0.5 < _CLOSE * paces.mean())

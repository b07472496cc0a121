"""Rows from all over the inputs of a job, without reading all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from transforms.rows.tables import chosen

from ..io.formats import FORMATS, ROW
from ..io.job import Job
from ..io.plan import Plan, Shard
from ..io.stages import InputError, with_rows

#: Steps of this size, from any point of a circle, never come close to each other.
_GOLDEN = 0.6180339887498949
_ROW_BITS = 32  # of the number of a row within its shard


@dataclass
class Sample:
    """Takes rows of the shards that a job has still to compute, spread evenly over them.

    The places are the same each time, and each further one lies in the largest gap so far.
    """

    job: Job
    #: Rows of the shards that were read, as they were planned and as they are.
    planned_rows: int = 0
    real_rows: int = 0
    read_seconds: float = 0.0
    _taken: int = 0
    _shards: list[tuple[Plan, int]] = field(default_factory=list)
    _ends: np.ndarray = field(default_factory=lambda: np.zeros(0))
    _tables: dict[str, pa.Table] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        names = self.job.output.names() if self.job.done else []
        rows: list[int] = []
        for plan, lost in zip(self.job.plans, self.job.lost, strict=True):
            left = np.flatnonzero(~(plan.is_done(names) | lost))
            self._shards += [(plan, int(i)) for i in left]
            rows += plan.rows[left].tolist()
        self._ends = np.cumsum(rows)

    @property
    def planned(self) -> int:
        """Rows that are left to compute, as they were planned."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def shards(self) -> int:
        """Shards that are left to compute."""
        return len(self._shards)

    @property
    def rows(self) -> int:
        """Rows that are left to compute: of lines, as far as the shards that were read tell."""
        if self.job.counts_rows or not self.planned_rows:
            return self.planned
        return round(self.planned * self.real_rows / self.planned_rows)

    def nbytes(self) -> int:
        """Bytes of the input files."""
        return sum(file.size for plan in self.job.plans for file in plan.files())

    def tables(self, count: int, places: int = 4) -> Iterator[pa.Table]:
        """About so many further rows, as neighbours from some places each.

        Their column ROW says which rows they are: of few rows, some are there several times.
        """
        each = max(1, -(-count // places))
        while count > 0:
            table = self._next(min(each, count))
            if not len(table):
                return
            count -= len(table)
            yield table

    def first_seen(self, table: pa.Table) -> pa.Table:
        """The rows of a table that it was not asked about before."""
        rows = table[ROW].to_pylist()
        new = [i for i, row in enumerate(rows) if row not in self._seen]
        self._seen.update(rows)
        return chosen(table, new)

    def _next(self, count: int) -> pa.Table:
        """Up to so many neighbouring rows from the next place; none if the shards have no rows."""
        for _ in range(8):
            where = (0.5 + self._taken * _GOLDEN) % 1.0 * self.planned
            self._taken += 1
            i = min(int(np.searchsorted(self._ends, where, side="right")), self.shards - 1)
            table = self._table(i)
            before = self._ends[i - 1] if i else 0
            share = (where - before) / max(self._ends[i] - before, 1)
            start = int(share * max(len(table) - count + 1, 1))
            if len(table):
                return table.slice(start, count)
        return with_rows(self.job.schema).empty_table()

    def _table(self, i: int) -> pa.Table:
        plan, number = self._shards[i]
        (shard,) = plan.shards([(number, number + 1)])
        if shard.name not in self._tables:
            self._tables.clear()  # one at a time: a shard has up to 64 MB
            table = self._read(shard)
            rows = pa.array(range(i << _ROW_BITS, (i << _ROW_BITS) + len(table)), pa.int64())
            self._tables[shard.name] = table.append_column(ROW, rows)
        return self._tables[shard.name]

    def _read(self, shard: Shard) -> pa.Table:
        start = time.perf_counter()
        files = shard.files
        try:
            tables = FORMATS[self.job.format].tables(files, [shard.range], self.job.schema)
            table = next(iter(tables))
        except Exception as error:
            raise InputError(f"{files[0].uri} cannot be read: {error}") from error
        table = table.slice(0, shard.rows) if self.job.is_limited else table
        self.read_seconds += time.perf_counter() - start
        self.planned_rows += shard.rows
        self.real_rows += len(table)
        return table

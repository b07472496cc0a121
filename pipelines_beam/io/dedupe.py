"""Rows with equal inputs in several shards: computed once, before the shards are.

The keys of all rows, which are hashes of their inputs, are grouped by Beam, and nothing else of the
rows. Of those that several shards have, the first shard's row is computed, and its answer is kept
in a cache, from which all of these shards take it. So shards stay what they are without this: each
is written whole and on its own, and a job that is killed goes on with the answers it has kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms import TaskTransform
from transforms.rows.tables import chosen
from transforms.stages import metrics

from .cache import Cache
from .job import Job
from .plan import Plan, Shard, place_of
from .stages import ReadShards, shard_of

#: Rows whose keys one worker compares, and most of such parts.
_ROWS_OF_PART, _MOST_PARTS = 500_000, 1024
_KEY_BYTES = 16
#: Shards that are read in one go: their plan, the first one's number, and the number behind the
#: last one.
Together: TypeAlias = tuple[str, int, int]


@dataclass(frozen=True)
class Keys:
    """Some rows of a shard by their keys."""

    together: Together
    #: The number of the shard in its plan.
    shard: int
    #: The numbers of the rows in it, and their keys.
    rows: np.ndarray
    keys: np.ndarray


class ComputeShared(beam.PTransform):  # type: ignore[misc]
    """Shards to the numbers of the answers that are kept: of inputs that several shards have.

    When all of it is there, the cache has every answer that more than one shard needs. Rows that
    fail are not kept: each of their shards computes them.
    """

    def __init__(self, job: Job, task: TaskTransform, cache: Cache) -> None:
        super().__init__()
        self._job = job
        self._task = task
        self._cache = cache

    def expand(self, shards: Any) -> Any:
        """PCollection of shards, as ReadPlan gives them, to PCollection of numbers."""
        job, cache = self._job, self._cache
        parts = min(_MOST_PARTS, 1 + (job.rows - job.rows_done) // _ROWS_OF_PART)
        names = self._task.plan.binding.columns_read
        inputs = pa.schema([each for each in job.schema if each.name in names])
        tables = (
            shards
            | "Keys"
            >> beam.ParDo(ReadKeys(replace(job, schema=inputs), cache, parts)).with_output_types(
                tuple[int, Any]
            )
            | "Equal" >> beam.GroupByKey()
            | "Shared" >> beam.FlatMap(shared).with_output_types(tuple[Together, Any])
            | "First" >> beam.GroupByKey()
            | "ReadFirst" >> beam.ParDo(ReadFirst(job)).with_output_types(pa.Table)
            | "NotKept" >> beam.ParDo(NotKept(cache)).with_output_types(pa.Table)
        )
        good, bad = tables | self._task.with_reuse().with_exception_handling()
        _ = bad | "TakeBack" >> beam.Map(_take_back_failures)
        return good | "Keep" >> beam.ParDo(Keep(cache)).with_output_types(int)


class ReadKeys(ReadShards):
    """Shards to their Keys, each with the number of its part: equal keys are in one part."""

    def __init__(self, job: Job, cache: Cache, parts: int) -> None:
        super().__init__(job)
        self._cache = cache
        self._parts = parts

    def process(self, shards: tuple[Shard, ...]) -> Iterator[tuple[int, Keys]]:
        """The keys of shards that nobody has written."""
        plan, first = place_of(shards[0].name)
        together = (plan, first, first + len(shards))
        for table in super().process(shards):
            number = place_of(shard_of(table)["name"])[1]
            hashes = [each[:_KEY_BYTES] for each in self._cache.hashes(table)]
            keys = np.array(hashes, f"S{_KEY_BYTES}")
            part_of = np.array([int.from_bytes(each[:4]) % self._parts for each in hashes], int)
            for part in np.unique(part_of).tolist():
                rows = np.flatnonzero(part_of == part)
                yield part, Keys(together, number, rows.astype(np.int32), keys[rows])


def shared(part: tuple[int, Iterable[Keys]]) -> Iterator[tuple[Together, tuple[int, np.ndarray]]]:
    """The rows that are computed for several shards: of each shard, those that it has first."""
    own = sorted(part[1], key=lambda each: (each.together, each.shard))
    shards = np.repeat(np.arange(len(own)), [len(each.rows) for each in own])
    rows = np.concatenate([each.rows for each in own])
    keys = np.concatenate([each.keys for each in own])
    _, first, kinds = np.unique(keys, return_index=True, return_inverse=True)
    last = np.zeros(len(first), int)
    np.maximum.at(last, kinds, shards)
    wanted = first[last > shards[first]]
    for i in np.unique(shards[wanted]).tolist():
        found = np.sort(rows[wanted[shards[wanted] == i]])
        yield own[i].together, (own[i].shard, found)


class ReadFirst(beam.DoFn):  # type: ignore[misc]
    """Shards and the numbers of some of their rows to tables of these."""

    def __init__(self, job: Job) -> None:
        self._output = job.output
        self._reader = ReadShards(job)
        self._plan: Plan | None = None

    def setup(self) -> None:
        """Make the counters."""
        self._reader.setup()

    def process(
        self, wanted: tuple[Together, Iterable[tuple[int, np.ndarray]]]
    ) -> Iterator[pa.Table]:
        """The rows, in a table for each shard."""
        (plan_name, _, _), parts = wanted
        rows: dict[int, list[np.ndarray]] = {}
        for number, some in parts:
            rows.setdefault(number, []).append(some)
        if self._plan is None or self._plan.name != plan_name:
            self._plan = Plan.read(self._output, plan_name)
        shards = tuple(self._plan.shards((number, number + 1) for number in sorted(rows)))
        for table in self._reader.process(shards):
            number = place_of(shard_of(table)["name"])[1]
            yield chosen(table, np.sort(np.concatenate(rows[number])).tolist())


class NotKept(beam.DoFn):  # type: ignore[misc]
    """Tables of rows to tables of those that have no answer yet."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def setup(self) -> None:
        """Find out which answers there are: of a start that was killed, or of earlier jobs."""
        self._cache.load()

    def process(self, table: pa.Table) -> Iterator[pa.Table]:
        """The rows without an answer."""
        known, _ = self._cache.found(table)
        left = sorted(set(range(len(table))).difference(known))
        if left:
            yield chosen(table, left)


class Keep(beam.DoFn):  # type: ignore[misc]
    """Tables of answers into the cache; gives how many they are."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def process(self, table: pa.Table) -> Iterator[int]:
        """Keep the answers of a table."""
        self._cache.add(table)
        metrics.take_back(len(table))  # they are counted when their shards take them
        yield len(table)


def _take_back_failures(failures: pa.Table) -> None:
    """The rows are computed in their shards once more, and are failures of those."""
    metrics.take_back(0, failures["kind"].to_pylist())

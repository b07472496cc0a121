"""The steps of a job over files with a cache: before the task, and after it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.rows.tables import chosen
from transforms.stages import metrics

from .cache import Cache
from .formats import ROW
from .output import CACHED, Output, as_parquet
from .stages import in_order, shard_of, with_shard


class FromCache(beam.DoFn):  # type: ignore[misc]
    """Tables of rows to tables of those that the cache does not answer.

    Answers that it has are kept beside the output until the others of the shard are there.

    Args:
      output: the output of the job.
      cache: the answers of earlier jobs.
      schema: that of tables of results, with the numbers of rows.

    """

    def __init__(self, output: Output, cache: Cache, schema: pa.Schema) -> None:
        self._output = output
        self._cache = cache
        self._schema = schema

    def setup(self) -> None:
        """Note that nothing is known yet of the answers."""
        self._is_loaded = False

    def process(self, table: pa.Table, awaited: Any = None) -> Iterator[pa.Table]:
        """The rows without an answer; none, if all have one.

        Args:
          table: the rows of a shard.
          awaited: a side input: what it is made of may add answers, so they are looked for now.

        """
        if not self._is_loaded:
            self._cache.load()
            self._is_loaded = True
        rows, answers = self._cache.found(table)
        about = shard_of(table)
        if rows:
            columns = [*chosen(table, rows).columns, *answers.columns]
            known = pa.Table.from_arrays(columns, schema=self._schema)
            self._output.write(f"{CACHED}/{about['name']}", as_parquet(known))
        metrics.counts().read += len(rows)
        metrics.count_reused(len(rows), 0)
        left = sorted(set(range(len(table))).difference(rows))
        schema = with_shard(table.schema, **about, cached=len(rows))
        yield chosen(table, left).replace_schema_metadata(schema.metadata)


class ToCache(beam.DoFn):  # type: ignore[misc]
    """Tables of answers to the same with those of the cache in their places.

    Args:
      output: the output of the job.
      cache: where the new answers are kept for later jobs. None: nowhere.

    """

    def __init__(self, output: Output, cache: Cache | None) -> None:
        self._output = output
        self._cache = cache

    def process(self, table: pa.Table) -> Iterator[pa.Table]:
        """The answered rows of a shard."""
        about = shard_of(table)
        if self._cache is not None:
            self._cache.add(table)
        if about["cached"]:
            data = self._output.read(f"{CACHED}/{about['name']}")
            known = pq.read_table(io.BytesIO(data)).cast(table.schema)
            rows = [each[ROW].to_pylist() for each in (table, known)]
            table = pa.concat_tables(in_order(table, rows[0], known, rows[1]))
        yield table
        self._output.remove(f"{CACHED}/{about['name']}")  # the shard is written, or on its way

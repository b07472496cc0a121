"""The steps of a job over files: shards to read, their tables, and the files that they become."""

from __future__ import annotations

import bisect
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.metrics import Metrics

from transforms.options.metrics_namespace import NAMESPACE
from transforms.stages.metrics import StageTimes

from .files import check_unchanged
from .formats import FORMATS, ROW
from .job import Job
from .output import FAILURES, Output, as_parquet
from .plan import Plan, Segment, Shard, read_together

#: What the metadata of a table says of the shard that it becomes.
_SHARD = b"pipelines_beam.shard"


def with_rows(schema: pa.Schema) -> pa.Schema:
    """The schema of the tables on their way, given that of the columns that are read."""
    return schema.append(pa.field(ROW, pa.int64()))


def failure_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of the files of failure rows, given that of tables of failure rows."""
    element = pa.struct([field for field in schema.field("element").type if field.name != ROW])
    where = [("file", pa.string()), ("row", pa.int64())]
    return pa.schema([*where, ("element", element), *list(schema)[1:]])


class InputError(RuntimeError):
    """A part of a file cannot be read."""


class ReadPlan(beam.DoFn):  # type: ignore[misc]
    """Segments of plans to the shards in them: those that are read in one go together."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._plan: Plan | None = None

    def process(self, segment: Segment) -> Iterator[tuple[Shard, ...]]:
        """The shards of a segment."""
        if self._plan is None or self._plan.name != segment.plan:
            self._plan = Plan.read(self._output, segment.plan)
        yield from read_together(self._plan.shards(segment.ranges))


class ReadShards(beam.DoFn):  # type: ignore[misc]
    """Shards to their tables, which know what they become.

    Of a job with a limit, only the planned numbers of rows are read.
    """

    def __init__(self, job: Job) -> None:
        self._output = job.output
        self._format = FORMATS[job.format]
        self._schema = job.schema
        self._is_limited = job.is_limited
        self._guard = job.guard

    def setup(self) -> None:
        """Make the counters."""
        self._times = StageTimes("read")

    def process(self, shards: tuple[Shard, ...]) -> Iterator[pa.Table]:
        """The tables of shards that nobody has written: a runner may hand them out again."""
        shards = tuple(each for each in shards if not self._output.exists(each.name))
        if not shards:
            return
        if self._guard is not None:
            self._guard.check()
        files, ranges = shards[0].files, [each.range for each in shards]
        if len(files) == 1:  # else media, which are fetched when they are needed
            check_unchanged(files[0])
        tables = self._format.tables(files, ranges, self._schema)
        for shard in shards:
            with self._times.measured("read"):
                table = self._placed(shard, self._next(tables, shard))
            self._times.count()
            yield table

    def _next(self, tables: Iterator[pa.Table], shard: Shard) -> pa.Table:
        try:
            table = next(tables)
            return table.slice(0, shard.rows) if self._is_limited else table
        except Exception as error:
            what = "rows" if self._format.numbers_rows else "bytes"
            raise InputError(
                f"{shard.files[0].uri} cannot be read, {what} {shard.range[0]} to "
                f"{shard.range[1]}: {error}"
            ) from error

    def _placed(self, shard: Shard, table: pa.Table) -> pa.Table:
        first = shard.range[0] if self._format.numbers_rows else 0
        table = table.append_column(ROW, pa.array(range(first, first + len(table)), pa.int64()))
        file = shard.files[0].uri if len(shard.files) == 1 else None
        about = with_shard(self._schema, name=shard.name, rows=len(table), file=file)
        return table.replace_schema_metadata(about.metadata)


class WriteFailures(beam.DoFn):  # type: ignore[misc]
    """Tables of failure rows to files; gives them on.

    They are written before the result of their shard, which says that the shard is done.
    """

    def __init__(self, output: Output, schema: pa.Schema) -> None:
        self._output = output
        self._schema = failure_schema(schema)
        self._rows = Metrics.counter(NAMESPACE, "rows_failed")

    def process(self, table: pa.Table) -> Iterator[pa.Table]:
        """Write the failure rows of a shard."""
        about = shard_of(table)
        failed = as_failures(table, about["file"], self._schema)
        self._output.write(f"{FAILURES}/{about['name']}", as_parquet(failed))
        self._rows.inc(len(failed))
        yield failed


class WriteResults(beam.DoFn):  # type: ignore[misc]
    """Tables of results to files: each is whole, and with it its shard is done. Gives their URIs.

    Raises RuntimeError where not every row of a shard is answered or failed, and
    TooManyFailuresError when too many of the job's rows have failed.
    """

    def __init__(self, job: Job, schema: pa.Schema) -> None:
        self._output = job.output
        self._guard = job.guard
        self._schema = schema
        self._rows = Metrics.counter(NAMESPACE, "rows_written")

    def setup(self) -> None:
        """Make the counters."""
        self._times = StageTimes("write")

    def process(self, table: pa.Table) -> Iterator[str]:
        """Write the results of a shard."""
        about = shard_of(table)
        failed = self._failed(about["name"]) if len(table) < about["rows"] else 0
        if len(table) + failed != about["rows"]:
            raise RuntimeError(
                f"{about['name']} has {about['rows']} rows, of which {len(table)} are answered and "
                f"{failed} failed: the shard is not written"
            )
        if not failed:  # rows may have failed when an earlier worker, which was killed, was at it
            self._output.remove(f"{FAILURES}/{about['name']}")
        table = table.drop_columns([ROW]).replace_schema_metadata(self._schema.metadata)
        with self._times.measured("write"):
            self._output.write(about["name"], as_parquet(table))
        self._times.count()
        self._rows.inc(len(table))
        if failed and self._guard is not None:
            self._guard.check()
        yield self._output.path(about["name"])

    def _failed(self, name: str) -> int:
        """How many failure rows of a shard are written."""
        try:
            data = self._output.read(f"{FAILURES}/{name}")
        except FileNotFoundError:
            return 0
        return int(pq.read_metadata(io.BytesIO(data)).num_rows)


def shard_of(table: pa.Table) -> dict[str, Any]:
    """What a table says of the shard that it becomes."""
    about: dict[str, Any] = json.loads(table.schema.metadata[_SHARD])
    return about


def with_shard(schema: pa.Schema, **about: Any) -> pa.Schema:
    """The schema of a table that says of what shard it is."""
    return schema.with_metadata({**(schema.metadata or {}), _SHARD: json.dumps(about)})


def as_failures(table: pa.Table, file: str | None, schema: pa.Schema) -> pa.Table:
    """The table of failure rows as it is written.

    Args:
      table: as the task gives it.
      file: the file of all rows. None: each has its own, in its column `path`.
      schema: that of the files of failure rows.

    """
    table = table.combine_chunks()
    element = table["element"].combine_chunks()
    cells = dict(zip(element.type.names, element.flatten(), strict=True))
    row = cells.pop(ROW)
    elements = pa.StructArray.from_arrays(
        list(cells.values()), fields=list(schema.field("element").type)
    )
    files = cells["path"] if file is None else [file] * len(table)
    columns = [pa.array(files, pa.string()), row, elements, *table.columns[1:]]
    return pa.Table.from_arrays(columns, schema=schema)


def failure_rows(table: pa.Table) -> Iterator[beam.Row]:
    """The failure rows of a table, without the elements."""
    yield from (beam.Row(**row) for row in table.drop_columns(["element"]).to_pylist())


def in_order(
    table: pa.Table, rows: Sequence[int], more: pa.Table, more_rows: Sequence[int]
) -> Iterator[pa.Table]:
    """Two tables as one in the order of rows, given the numbers of the rows of each, ascending."""
    start = 0
    for i, row in enumerate(more_rows):
        stop = bisect.bisect(rows, row)
        yield table.slice(start, stop - start)
        yield more.slice(i, 1)
        start = stop
    yield table.slice(start)

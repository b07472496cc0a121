"""Computing the failed rows of a job over files again: those alone, into the same output."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from transforms import TaskTransform

from ..beam_options import DEFAULT_RUNNER
from ..workers import use_cores
from . import identity
from .failed_rows import (
    count_failed,
    failed_rows,
    merge_answers,
    replace_failures,
    shards_with_failures,
)
from .formats import FORMATS, ROW
from .identity import JobChangedError
from .job import about_job
from .output import FAILURES, Output
from .plan import Segment, Shard, plans
from .retry_records import RetryRecord, settle
from .settings import check_fused
from .stages import ReadPlan, as_failures, failure_schema, shard_of, with_rows, with_shard

#: What must be the same in a retry: the output has results of one model, with the same columns.
_SAME = (
    *("task", "model", "revision", "tokenizer", "processor"),
    *("input", "prompt", "messages", "output"),
)


@dataclass(frozen=True)
class Retried:
    """What computing failed rows again has done."""

    #: How many rows had failed, and how many of them are answered now.
    failed: int
    answered: int
    #: The files of the failure rows that are left.
    failures: list[str]
    #: What was changed: names of options, and what they were and are.
    changed: Mapping[str, str]


def retry_failures(
    task: TaskTransform, output: str, *, options: PipelineOptions | None = None
) -> Retried:
    """Compute the failed rows of a job over files again, and no others.

    Rows that are answered now are written to where they belong in the files of results; those that
    fail again stay failure rows. Rows are read from the failure rows; media, from their paths.

    Args:
      task: the task's transform. It may have other options than that of the job, and other
        parameters; its model, its input or prompt and the columns of its results must be the same.
      output: the output of the job.
      options: those of the pipeline, such as its runner. None: Beam's runner in this process.

    Raises:
      NoJobError: no job over files has begun the output.
      JobChangedError: the task has another model, input, prompt or columns than the job.
      ValueError: the task is isolated, see ProcessFiles.

    """
    check_fused(task)
    folder = Output(output)
    about = about_job(folder)
    changed = _changes(task, about, folder)
    settle(folder)
    names = shards_with_failures(folder)
    if not names:
        return Retried(0, 0, [], changed)
    _check_columns(task, folder, names[0])
    failed = _count(folder, names)
    record = RetryRecord(folder, changed, failed)
    options = PipelineOptions([], runner=DEFAULT_RUNNER) if options is None else options
    pipeline = beam.Pipeline(options=options)
    steps = _Retry(task, folder, names, json.loads(about["job"]["format"]))
    _ = pipeline | steps.with_resource_hints(**task.plan.placement.hints)
    use_cores(pipeline)
    pipeline.run().wait_until_finish()
    settle(folder)
    left = shards_with_failures(folder)
    answered = failed - _count(folder, left)
    record.finish(answered)
    paths = [folder.path(f"{FAILURES}/{name}") for name in left]
    return Retried(failed, answered, paths, changed)


class _Retry(beam.PTransform):  # type: ignore[misc]
    """The failed rows of shards through the task, and into their files."""

    def __init__(
        self, task: TaskTransform, output: Output, names: Sequence[str], format: str
    ) -> None:
        super().__init__()
        self._task = task
        self._output = output
        self._names = names
        self._numbers_rows = FORMATS[format].numbers_rows

    def expand(self, pbegin: Any) -> Any:
        """The numbers of rows that are answered, and those of rows that failed again."""
        task, output = self._task, self._output
        schema = _element_schema(output, self._names[0])
        tables = (
            pbegin
            | "Plan" >> beam.Create(_segments(output, self._names)).with_output_types(Any)
            | "Shards" >> beam.ParDo(ReadPlan(output)).with_output_types(Any)
            | "Single" >> beam.FlatMap(_itself).with_output_types(Any)
            | "Spread" >> beam.Reshuffle()
            | "Read"
            >> beam.ParDo(ReadFailed(output, self._numbers_rows)).with_output_types(pa.Table)
        )
        good, bad = tables | task.with_exception_handling()
        kept = failure_schema(task.failure_schema(with_rows(schema)))
        failed = bad | "WriteFailures" >> beam.ParDo(UpdateFailures(output, kept))
        written = good | "WriteResults" >> beam.ParDo(MergeAnswers(output))
        return {"answered": written, "failed": failed}


class ReadFailed(beam.DoFn):  # type: ignore[misc]
    """Shards to tables of their failed rows."""

    def __init__(self, output: Output, numbers_rows: bool) -> None:
        self._output = output
        self._numbers_rows = numbers_rows

    def process(self, shard: Shard) -> Iterator[pa.Table]:
        """The rows of a shard that are still failed."""
        failures = failed_rows(self._output, shard.name)
        if failures is None or not len(failures):
            return
        first = shard.range[0] if self._numbers_rows else 0
        file = shard.files[0].uri if len(shard.files) == 1 else None
        element = failures["element"].combine_chunks()
        schema = with_rows(pa.schema(list(element.type)))
        yield pa.Table.from_arrays(
            [*element.flatten(), failures["row"]],
            schema=with_shard(schema, name=shard.name, first=first, file=file),
        )


class UpdateFailures(beam.DoFn):  # type: ignore[misc]
    """Tables of rows that failed again to the files of failure rows; gives how many they are."""

    def __init__(self, output: Output, schema: pa.Schema) -> None:
        self._output = output
        self._schema = schema

    def process(self, table: pa.Table) -> Iterator[int]:
        """Write the newer failure rows of a shard."""
        about = shard_of(table)
        failed = as_failures(table, about["file"], self._schema)
        replace_failures(self._output, about["name"], failed)
        yield len(failed)


class MergeAnswers(beam.DoFn):  # type: ignore[misc]
    """Tables of rows that are answered now to the files of results; gives how many they are."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def process(self, table: pa.Table) -> Iterator[int]:
        """Write a shard with the rows that are answered now."""
        about, rows = shard_of(table), table[ROW].to_pylist()
        answers = table.drop_columns([ROW])
        merge_answers(self._output, about["name"], about["first"], answers, rows)
        yield len(rows)


def _element_schema(output: Output, name: str) -> pa.Schema:
    """The columns that the task of a job reads, as the failure rows of a shard have them."""
    with output.open(f"{FAILURES}/{name}") as opened:
        return pa.schema(list(pq.read_schema(opened).field("element").type))


def _changes(task: TaskTransform, about: Mapping[str, Any], output: Output) -> dict[str, str]:
    """What a task has changed since the job. Raises JobChangedError where it must not."""
    was = about["job"]
    now = identity.described(task, None, "")
    changed = {
        name: f"{was.get(name, 'not given')} → {now.get(name, 'not given')}"
        for name in {**was, **now}
        if was.get(name) != now.get(name) and name not in ("columns", "format", "limit")
    }
    refused = {name: text for name, text in changed.items() if name in _SAME}
    if refused:
        said = "; ".join(f"{name}: {text}" for name, text in refused.items())
        raise JobChangedError(
            f"{output.uri} has the results of another task: {said}. To retry needs the same task, "
            "model and input or prompt; other options may change"
        )
    return changed


def _check_columns(task: TaskTransform, output: Output, name: str) -> None:
    """Raises JobChangedError for a task whose results have other columns than a shard."""
    new = task.schema(_element_schema(output, name))
    with output.open(name) as opened:
        old = pq.read_schema(opened)
    if not new.equals(old):
        raise JobChangedError(
            f"{output.uri} has the columns {_columns(old)}, and results would have "
            f"{_columns(new)}: change no option that changes columns"
        )


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)


def _segments(output: Output, names: Sequence[str]) -> list[Segment]:
    """Shards by their names, as parts of their plans."""
    return [segment for plan in plans(output) for segment in plan.segments(~plan.is_done(names))]


def _count(output: Output, names: Sequence[str]) -> int:
    return sum(count_failed(output, name)[0] for name in names)


def _itself(shards: Any) -> Any:
    return shards

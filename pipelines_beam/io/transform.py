"""A task over files, as a transform and as a function."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.typehints.row_type import RowTypeConstraint

from transforms import TaskTransform

from ..beam_options import DEFAULT_RUNNER
from ..progress import show
from ..workers import use_cores
from .audit.options import check_auditable
from .audit.reference import reference_plan
from .audit.results import AuditResult, audit_result
from .audit.rows import Audit
from .cache import Cache
from .cached_rows import FromCache, ToCache
from .dedupe import ComputeShared
from .job import Job
from .output import FAILURES, SHARED, Output, is_shard
from .prepare import prepare, rows_per_shard
from .recorder import Followed, Recorder
from .reporting import report
from .settings import Settings
from .stages import (
    ReadPlan,
    ReadShards,
    WriteFailures,
    WriteResults,
    failure_rows,
    with_rows,
)

if TYPE_CHECKING:
    from ..report import Report

logger = logging.getLogger(__name__)

_FAILURE_ROW = RowTypeConstraint.from_fields(
    [
        ("file", str | None),
        ("row", int),
        *((name, str) for name in ("stage", "kind", "error", "message", "traceback")),
        ("attempts", int),
    ]
)


class ProcessFiles(beam.PTransform):  # type: ignore[misc]
    """A task over files: each part of each file becomes one file of results, exactly once.

    ```python
    with LocalPipeline() as p:
        p | ProcessFiles("reviews/*.parquet", TextClassification(…, input="text"), "scored")
    ```

    The output is a folder of Parquet files with the columns of `task.schema(…)`; rows that failed
    are in its folder `_failures`. A file appears when all of its rows are there. Started again with
    `resume=True`, a job that was stopped or killed computes what is missing, and files that are
    new. Works on every file system of fsspec and every runner.

    Args:
      files: a path or URI of files, of a folder, or with *; or a list of them.
      task: the task's transform, with `input`.
      output: the path or URI of a folder.
      columns: the columns that are read beside the task's input, and written. None: all.
      types: Arrow types of columns of JSON or CSV in place of those of the first rows, such as
        {"id": "string"}.
      format: "parquet", "jsonl", "csv", "tsv", "text" (a row for each line, in the column `text`)
        or "media" (a row for each file: path, name, size). None: as the names of the files tell.
      resume: compute what is missing in an output that exists; begin one that does not.
      overwrite: replace an output that exists.
      rows_per_shard: the most rows of a file of results. None: 10,000; of media 500.
      bytes_per_shard: the most bytes that are read for it.
      reuse: compute rows of one shard once if their inputs are equal, where that gives the same
        answers: not with sampling, nor with a pipeline class or a function of your own.
      dedupe: "shard", or "job": compute rows once if their inputs are equal, in whatever files they
        are. All inputs are read once more for that, before anything is computed. Refused where
        equal inputs may have different answers, and for media that are not columns of bytes.
      cache: the path or URI of a folder with answers of earlier jobs, which are taken for rows with
        the same inputs, and to which those of this job are added. Not with reuse=False.
      limit: read only so many rows, the first ones: for trying a job. Its output is not resumed
        with another limit, or without.
      max_failures: stop when more rows than that have failed: a number, or a share such as "1%" of
        the rows that are done, once they are 100. It is looked at whenever a file of the output is
        written and before the next is begun, so each worker finishes the file that it is at.
      audit: compute this part of the rows once more, each alone and in float32, and report how far
        the answers are from that; or a mapping: see AuditOptions. Refused where answers may differ
        although nothing is wrong, such as with sampling.

    The pipeline gets {"files_written": the paths of the files, "failed": failure rows without the
    elements}. What there is and what is to be done is found when the transform is applied.

    Raises:
      FileNotFoundError: nothing matches.
      OutputExistsError: the output exists, and neither resume nor overwrite is set.
      JobChangedError: the output was begun with another task, model, parameter, column or version.
      InputChangedError: a file has changed since its results were planned.
      OutputError: the output cannot be written to.
      TooManyFailuresError: more rows failed than max_failures allows.
      ValueError: an option has an invalid value, or a file lacks a column or has it with another
        type; the task has isolate, where accelerator and min_ram alone do.

    """

    def __init__(
        self,
        files: str | Sequence[str],
        task: TaskTransform,
        output: str,
        *,
        columns: Sequence[str] | None = None,
        types: Mapping[str, str] | None = None,
        format: str | None = None,
        resume: bool = False,
        overwrite: bool = False,
        rows_per_shard: int | None = None,
        bytes_per_shard: int = Settings.bytes_per_shard,
        reuse: bool = True,
        dedupe: str = Settings.dedupe,
        cache: str | None = None,
        limit: int | None = None,
        max_failures: int | str | None = None,
        audit: float | Mapping[str, Any] | None = None,
    ) -> None:
        options = {name: value for name, value in locals().items() if name not in _NO_SETTINGS}
        super().__init__()
        #: What it is asked to do.
        self.settings = Settings(**options)
        #: What is to be done, once the transform is applied.
        self.job: Job | None = None
        #: Set to False, the transform can be applied to see what it would do, and not be run.
        self.writes = True

    @property
    def task(self) -> TaskTransform:
        """The transform of the task."""
        return self.settings.task

    def expand(self, pbegin: Any) -> Any:
        """The files that are written, and the failure rows."""
        settings, task = self.settings, self.settings.task
        audit, cache = settings.audit_options, self._answers()
        if audit is not None:
            check_auditable(task)
            reference_plan(task, audit.device, None)  # refused before an output is replaced
        self.job = job = prepare(settings, self.writes)
        logger.info("%s: %d of %d shards are there", job.output.uri, job.done, job.shards)
        schema = with_rows(job.schema)
        shards = (
            pbegin
            | "Plan" >> beam.Create(job.segments).with_output_types(Any)
            | "Shards" >> beam.ParDo(ReadPlan(job.output)).with_output_types(Any)
            | "Spread" >> beam.Reshuffle()
        )
        # All with one environment: else a runner may part them, and results come before failures.
        hints = task.plan.placement.hints
        read = beam.ParDo(ReadShards(job)).with_resource_hints(**hints)
        tables = shards | "Read" >> read.with_output_types(pa.Table)
        if cache is not None:
            tables = self._without_known(job, cache, shards, tables)
        computing = task.with_reuse() if settings.reuse else task
        computing = computing.with_open_tables(
            rows_per_shard(settings, job.format), settings.bytes_per_shard
        )
        good, bad = tables | computing.with_exception_handling()
        if cache is not None:
            merged = beam.ParDo(ToCache(job.output, cache if settings.uses_cache else None))
            merged = merged.with_resource_hints(**hints)
            good = good | "ToCache" >> merged.with_output_types(pa.Table)
        if audit is not None:
            audited = Audit(audit, task, job.output, schema).with_resource_hints(**hints)
            good = good | "Audit" >> audited
        failures = beam.ParDo(WriteFailures(job.output, task.failure_schema(schema)))
        failures = failures.with_resource_hints(**hints)
        failed = bad | "WriteFailures" >> failures.with_output_types(pa.Table)
        results = beam.ParDo(WriteResults(job, task.schema(job.schema)))
        results = results.with_resource_hints(**hints)
        written = good | "WriteResults" >> results.with_output_types(str)
        rows = failed | "FailureRows" >> beam.FlatMap(failure_rows).with_output_types(_FAILURE_ROW)
        return {"files_written": written, "failed": rows}

    def _answers(self) -> Cache | None:
        """Where answers are that are not computed, or not by each shard."""
        settings = self.settings
        if settings.uses_cache:
            return Cache(str(settings.cache), settings.task)
        if settings.dedupes_job:
            return Cache(f"{Output(settings.output).uri}/{SHARED}", settings.task, "dedupe")
        return None

    def _without_known(self, job: Job, cache: Cache, shards: Any, tables: Any) -> Any:
        """The tables without the rows whose answers are in the cache, or are computed for it."""
        awaited: list[Any] = []
        if self.settings.dedupes_job:
            kept = shards | "ComputeShared" >> ComputeShared(job, self.task, cache)
            awaited = [beam.pvalue.AsIter(kept)]
        known = FromCache(job.output, cache, self.task.schema(with_rows(job.schema)))
        step = beam.ParDo(known, *awaited).with_resource_hints(**self.task.plan.placement.hints)
        return tables | "FromCache" >> step.with_output_types(pa.Table)


_NO_SETTINGS = ("self", "__class__")


@dataclass(frozen=True)
class Processed:
    """What a job over files has done."""

    #: The files of results, and those of failure rows: all that there are.
    files: list[str]
    failures: list[str]
    #: How many files were there before, and how many were written now.
    skipped: int
    written: int
    #: The folder of the output.
    output: str
    #: How far audited rows are from float32; None without an audit.
    audit: AuditResult | None = None

    def report(self) -> Report:
        """What the job did, for a notebook or as one HTML file: see `report`."""
        return report(self.output)


def process_files(
    files: str | Sequence[str],
    task: TaskTransform,
    output: str,
    *,
    options: PipelineOptions | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> Processed:
    """Run ProcessFiles as a pipeline of its own, and wait for it.

    Args:
      files: as of ProcessFiles.
      task: as of ProcessFiles.
      output: as of ProcessFiles.
      options: those of the pipeline, such as its runner. None: on this machine, with as many
        worker processes as help (see LocalPipeline).
      progress: show how far the job is, on stderr. None: if that is a terminal, or in a notebook.
      **settings: the other options of ProcessFiles.

    Raises what ProcessFiles and the runner raise; RuntimeError if files are missing afterwards.

    """
    transform = ProcessFiles(files, task, output, **settings)
    options = PipelineOptions([], runner=DEFAULT_RUNNER) if options is None else options
    pipeline = beam.Pipeline(options=options)
    _ = pipeline | transform
    use_cores(pipeline)
    job = transform.job
    assert job is not None
    try:
        with (
            show.shown([job], show.style_of(progress), pipeline.options),
            Recorder([Followed(transform.label, transform.settings, job)]) as recorder,
        ):
            recorder.result = pipeline.run()
            recorder.result.wait_until_finish()
    except Exception as error:
        if (excess := job.excess()) is not None:
            raise excess from error
        raise
    if (excess := job.excess()) is not None:
        raise excess
    names = sorted(filter(is_shard, job.output.names()))
    wanted = sum(stop - start for each in job.segments for start, stop in each.ranges)
    written = len(names) - job.done
    if written < wanted:
        raise RuntimeError(
            f"{job.output.uri}: {wanted - written} of {wanted} files are missing: resume the job"
        )
    failures = sorted(f"{FAILURES}/{name}" for name in filter(is_shard, job.output.names(FAILURES)))
    return Processed(
        [job.output.path(name) for name in names],
        [job.output.path(name) for name in failures],
        job.done,
        written,
        job.output.uri,
        _audited(job),
    )


def _audited(job: Job) -> AuditResult | None:
    """What the audit of a job has found; logs what is more than its options allow."""
    if job.audit is None:
        return None
    found = audit_result(job.output)
    for excess in found.excesses(job.audit):
        logger.warning("%s: %s", job.output.uri, excess)
    return found

"""What of a job will fail or surprise, as far as a sample shows it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from transforms import TaskTransform

from ..io.job import Job
from .failures import ExpectedFailures
from .sample import Sample

_TOO_LONG = "TooLongError"
_NOISE = 0.15  # relative error of the rounds


def of_inputs(task: TaskTransform, tables: Sequence[pa.Table]) -> Iterator[str]:
    """Values that are missing or empty in the columns that the task reads."""
    if not tables:
        return
    rows = sum(map(len, tables))
    for name in inputs_of(task):
        columns = [table[name] for table in tables]
        missing = sum(column.null_count for column in columns)
        empty = sum(map(_empty, columns))
        for count, what in ((missing, "no value"), (empty, "an empty text")):
            if count:
                yield f"column {name!r} has {what} in {count:,} of {rows:,} rows of the sample"


def inputs_of(task: TaskTransform) -> list[str]:
    """The columns that a task reads."""
    return list(task.plan.binding.columns_read)


def _empty(column: pa.ChunkedArray) -> int:
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return 0
    return int(pc.sum(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0)).as_py() or 0)


def of_failures(
    failures: Sequence[ExpectedFailures], parameters: Mapping[str, object], sample: int
) -> Iterator[str]:
    """What would make rows succeed, and jobs in which most rows fail."""
    failed = sum(each.in_sample for each in failures)
    if failed > sample / 2:
        yield f"most rows fail: {failed:,} of {sample:,} of the sample"
    too_long = any(each.error == _TOO_LONG for each in failures)
    if too_long and "truncation" not in parameters:
        yield "some rows are longer than the model takes: truncation: true cuts them off"


def of_size(sample: Sample, workers: int) -> Iterator[str]:
    """Jobs that have nothing to compute, and workers that get nothing."""
    if not sample.shards:
        yield "nothing is left to compute"
    elif sample.shards < workers:
        yield (
            f"{workers} workers, and {sample.shards} files of the output, of which each is "
            "computed by one: set rows_per_shard to fewer rows"
        )
    if not sample.job.counts_rows:
        yield "the number of rows is estimated from the length of lines in the sample"


def of_options(job: Job) -> Iterator[str]:
    """Options that change how long a job takes, and are not in the forecast."""
    if job.audit is not None:
        share = f"{job.audit.share:.2%}"
        yield f"the audit of {share} of the rows is not in the forecast: it takes longer"
    if job.takes_answers:
        yield (
            "every row counts as computed: it takes less with answers that are kept (dedupe, cache)"
        )


def of_noise(error: float) -> Iterator[str]:
    """Measurements that differ much."""
    if error > _NOISE:
        yield (
            f"the parts of the sample differ by {error:.0%}: another program may use this "
            "machine, or the sample is too small: --seconds gives it longer"
        )

"""The forecast of a job: its sample is taken and measured, and what it takes is predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from transforms import TaskTransform
from transforms.options.shown import shown

from .. import machine
from .. import workers as local_workers
from ..io.job import Job
from ..io.kept_forecast import KeptForecast
from . import memory, predict, warnings
from .failures import ExpectedFailures, FoundFailures
from .finished import Speed, Store, correction, described
from .forecast import Forecast
from .lengths import Lengths, lengths_of
from .measure import Measured, Round
from .predict import Estimate
from .profile import RUNNER_SECONDS, EmptyJobError, Profile
from .ranges import Histogram
from .sample import Sample

#: Rows whose sizes are looked at, and seconds that this may take.
_SIZED, _SIZED_SECONDS = 1024, 10.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a forecast is asked for. Raises ValueError for a value that does not exist."""

    #: Most seconds of measuring, without loading the model.
    seconds: float = 60.0
    workers: int = 1
    #: Of one worker.
    price_per_hour: float | None = None
    #: Of another machine, in place of measuring this one.
    profile: Profile | None = None
    #: Seconds that the command has taken to build the job, as the run will.
    build_seconds: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.workers, bool) or not isinstance(self.workers, int) or self.workers < 1:
            raise ValueError(f"workers must be a positive integer, got {shown(self.workers)}")
        for name in ("seconds", "price_per_hour"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (is_number and 0 < value < float("inf")):
                raise ValueError(f"{name} must be a positive number, got {shown(value)}")


@dataclass(frozen=True)
class _Found:
    """What a sample has shown."""

    profile: Profile
    estimate: Estimate
    source: str
    #: Different rows, and how many were computed.
    rows: int
    measured_rows: int
    seconds: float
    failures: FoundFailures
    lengths: Lengths
    #: Bytes of the results of an average row; None: not known.
    output_bytes: float | None
    batch_rows: float
    padding: float
    warnings: Sequence[str]


def forecast(job: Job, task: TaskTransform, options: Options) -> Forecast:
    """What a job will take.

    Raises what the stages and the engine raise, such as ModelLoadError; EmptyJobError where
    there is nothing to measure.
    """
    sample = Sample(job)
    found = _by_profile(sample, task, options) if options.profile else _here(sample, task, options)
    made = _forecast(sample, task, options, found)
    _keep(made, job, task, options)
    return made


def _keep(made: Forecast, job: Job, task: TaskTransform, options: Options) -> None:
    """Keep a forecast for the report of the job's run."""
    seconds = made.seconds_of_workers + -options.build_seconds
    KeptForecast(
        job=described(task, job.format),
        rows=made.rows,
        failed=sum(each.expected for each in made.failures),
        seconds=(seconds.low, seconds.value, seconds.high),
        workers=made.workers,
        device=made.device,
        batch_rows=made.batch_rows,
        padding=made.padding,
    ).keep(job.output.uri)


def profile(job: Job, task: TaskTransform, seconds: float) -> Profile:
    """What this machine takes for a job's rows. Raises as `forecast` does."""
    sample = Sample(job)
    measured = _measured(sample, task, seconds)
    return _profile(sample, task, measured)


def _measured(sample: Sample, task: TaskTransform, seconds: float) -> Measured:
    if not sample.rows:
        raise EmptyJobError("the job has no rows left to compute: there is nothing to measure")
    with Measured(task, sample) as measured:
        measured.measure(seconds)
        measured.memory = memory.peak()
    if not measured.rounds:
        raise EmptyJobError("the sample of the job has no rows: there is nothing to measure")
    return measured


def _profile(sample: Sample, task: TaskTransform, measured: Measured) -> Profile:
    """The profile of this machine that a measurement gives."""
    spec, about = task.plan.spec, machine.described(task.plan.spec.model.device)
    accelerated = spec.model.takes_accelerator and "accelerator" in about
    rounds = measured.rounds
    line = predict.line_of(rounds)
    batches = [batch for each in rounds for batch in each.batches]
    beside = _files_seconds(sample, rounds)
    return Profile(
        task=spec.task,
        model=spec.model.source,
        device=about.get("accelerator" if accelerated else "processor") or "a processor",
        accelerated=accelerated,
        cores=about["cores"],
        processes=local_workers.worker_processes([spec]),
        load_seconds=measured.load_seconds,
        start_seconds=line.start_seconds,
        seconds_per_token=line.seconds_per_token,
        host_seconds=predict.host_seconds(rounds, accelerated) + beside,
        batch_rows=max((each.rows for each in batches), default=1),
        batch_tokens=max((each.padded for each in batches), default=1) or 1,
        memory=measured.memory,
        model_bytes=measured.model_bytes,
        measured_rows=measured.rows,
    )


def _files_seconds(sample: Sample, rounds: Sequence[Round]) -> float:
    """What reading and writing take for a row."""
    written = sum(each.answered for each in rounds)
    writing = sum(each.write_seconds for each in rounds) / max(written, 1)
    return sample.read_seconds / max(sample.real_rows, 1) + writing


def _here(sample: Sample, task: TaskTransform, options: Options) -> _Found:
    """What a sample shows that is computed on this machine."""
    measured = _measured(sample, task, options.seconds)
    found = _profile(sample, task, measured)
    beside = (found.processes, found.accelerated)
    speed = predict.speed_of(measured.rounds, *beside)
    files = _files_seconds(sample, measured.rounds)
    speed = Speed(speed.seconds_per_row + files, speed.tokens_per_row)
    job, about = described(task, sample.job.format), machine.described(task.plan.spec.model.device)
    of_runs = correction(sample.job.output, job, about, speed)
    found = Store.of(job, about).corrected(found, of_runs)
    error = predict.error_of(measured.rounds, *beside)
    is_corrected = found.correction != 1.0
    unseen = predict.UNSEEN_AFTER_RUN if is_corrected else predict.UNSEEN
    seconds = sample.rows * speed.seconds_per_row * found.correction
    return _Found(
        found,
        Estimate(seconds, _joined(error, unseen)),
        "on this machine, corrected by a finished run" if is_corrected else "on this machine",
        measured.different_rows,
        measured.rows,
        measured.seconds,
        measured.failures,
        lengths_of(task, _first(measured.input_tables), _SIZED_SECONDS),
        _output_bytes(measured.rounds),
        *_batches(measured.rounds),
        list(warnings.of_inputs(task, measured.input_tables)) + list(warnings.of_noise(error)),
    )


def _joined(error: float, unseen: float) -> float:
    return float(np.hypot(error, unseen))


def _by_profile(sample: Sample, task: TaskTransform, options: Options) -> _Found:
    """What a sample shows whose sizes alone are looked at here."""
    known = options.profile
    assert known is not None
    other = known.check_of(task.plan.spec.task, task.plan.spec.model.source)
    tables = list(filter(len, map(sample.first_seen, sample.tables(_SIZED, places=32))))
    lengths = lengths_of(task, tables, options.seconds)
    if not lengths.slots:
        raise EmptyJobError(
            "no row of the sample becomes features for the model: there is nothing to predict from"
        )
    work = lengths.work(known)
    seconds = sample.rows * known.work_seconds(work) / work.rows
    tokens = sum(slot.length for slot in lengths.slots)
    return _Found(
        known,
        Estimate(seconds, predict.UNSEEN_OF_PROFILE),
        "looked at here; the speed is that of a profile",
        lengths.rows,
        lengths.rows,
        lengths.seconds,
        lengths.failures,
        lengths,
        None,
        len(lengths.slots) / max(work.batches, 1),
        1 - tokens / max(work.tokens, 1),
        [*warnings.of_inputs(task, tables), *([other] if other else [])],
    )


def _first(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """So many tables that their sizes show how sizes are distributed."""
    ends = np.cumsum([len(table) for table in tables])
    return list(tables[: int(np.searchsorted(ends, _SIZED)) + 1])


def _output_bytes(rounds: Sequence[Round]) -> float | None:
    answered = sum(each.answered for each in rounds)
    return sum(each.nbytes for each in rounds) / answered if answered else None


def _batches(rounds: Sequence[Round]) -> tuple[float, float]:
    """The rows of an average batch, and the share of padding."""
    batches = [batch for each in rounds for batch in each.batches]
    tokens, padded = (sum(getattr(b, name) for b in batches) for name in ("tokens", "padded"))
    rows = sum(each.rows for each in batches)
    return rows / max(len(batches), 1), 1 - tokens / padded if padded else 0.0


def _forecast(sample: Sample, task: TaskTransform, options: Options, found: _Found) -> Forecast:
    known, rows, count = found.profile, sample.rows, options.workers
    failures = found.failures.expected(max(found.rows, 1), rows)
    start = options.build_seconds + RUNNER_SECONDS + known.load_seconds
    share = predict.share_of_worker(sample.shards, count)
    of_workers = found.estimate.range(start, share)
    hours = of_workers * (count / 3600)
    price = None if options.price_per_hour is None else hours * options.price_per_hour
    return Forecast(
        task=task.plan.spec.task,
        model=task.plan.spec.model.source,
        format=sample.job.format,
        files=len({file for plan in sample.job.plans for file in plan.files()}),
        input_bytes=sample.nbytes(),
        rows=rows,
        rows_done=sample.job.rows_done,
        rows_counted=sample.job.counts_rows,
        shards=sample.shards,
        sizes=Histogram.of(found.lengths.unit, found.lengths.sizes),
        sample_rows=found.rows,
        measured_rows=found.measured_rows,
        sample_seconds=found.seconds,
        device=known.device,
        source=found.source,
        batch_rows=found.batch_rows,
        padding=found.padding,
        memory=known.memory,
        model_bytes=known.model_bytes,
        start_seconds=start,
        seconds=found.estimate.range(start),
        workers=count,
        seconds_of_workers=of_workers,
        worker_hours=hours,
        accelerator_hours=hours if known.accelerated else None,
        price_per_hour=options.price_per_hour,
        price=price,
        output_bytes=_all_bytes(found, failures, rows),
        failures=failures,
        warnings=_warnings(sample, task, options, found, failures),
    )


def _all_bytes(found: _Found, failures: Sequence[ExpectedFailures], rows: int) -> int | None:
    if found.output_bytes is None:
        return None
    failed = sum(each.expected for each in failures)
    return round(max(rows - failed, 0) * found.output_bytes)


def _warnings(
    sample: Sample,
    task: TaskTransform,
    options: Options,
    found: _Found,
    failures: Sequence[ExpectedFailures],
) -> list[str]:
    return [
        *warnings.of_size(sample, options.workers),
        *warnings.of_options(sample.job),
        *found.warnings,
        *warnings.of_failures(failures, task.plan.spec.parameters, max(found.rows, 1)),
    ]

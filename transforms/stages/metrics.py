"""Metrics of the engine and the stages, for Beam's metrics and for a progress bar."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from apache_beam.metrics import Metrics

from ..engine.reports import BatchReport, LoadReport, Report
from ..options.metrics_namespace import NAMESPACE


class EngineMetrics:
    """Beam's counters and distributions of an engine's work, beside those of RunInference.

    padding_percent and batch_wait_micro_secs of each batch; compute_micro_secs, idle_micro_secs,
    tokens, padded_tokens, splits_memory, splits_data, engine_restarts and replayed in total; and
    how many batches had which size, see `size_class`.
    """

    def __init__(self) -> None:
        count, spread = Metrics.counter, Metrics.distribution
        self._padding = spread(NAMESPACE, "padding_percent")
        self._wait = spread(NAMESPACE, "batch_wait_micro_secs")
        self._compute = count(NAMESPACE, "compute_micro_secs")
        self._idle = count(NAMESPACE, "idle_micro_secs")
        self._tokens = count(NAMESPACE, "tokens")
        self._padded = count(NAMESPACE, "padded_tokens")
        self._sizes: dict[str, Any] = {}
        self._splits = {why: count(NAMESPACE, f"splits_{why}") for why in ("memory", "data")}
        self._restarts = count(NAMESPACE, "engine_restarts")
        self._replayed = count(NAMESPACE, "replayed")

    def add(self, reports: Iterable[Report]) -> None:
        """Count an engine's reports."""
        for report in reports:
            if isinstance(report, BatchReport):
                self._add_batch(report)
            elif isinstance(report, LoadReport):
                self._add_load(report)
            else:
                self._restarts.inc()
                self._replayed.inc(report.replayed)

    def _add_load(self, report: LoadReport) -> None:
        """Not counted here: RunInference does."""

    def _add_batch(self, report: BatchReport) -> None:
        if report.split:
            self._splits[report.split].inc()
            return
        _counts.add(report)
        self._compute.inc(round(report.seconds * 1e6))
        self._idle.inc(round(report.idle * 1e6))
        self._wait.update(round(report.waited * 1e6))
        self._padding.update(round(100 * (1 - report.tokens / max(report.padded, 1))))
        self._tokens.inc(report.tokens)
        self._padded.inc(report.padded)
        name = size_class(report.rows)
        if name not in self._sizes:
            self._sizes[name] = Metrics.counter(NAMESPACE, name)
        self._sizes[name].inc()


class StageMetrics(EngineMetrics):
    """The same, and the metrics of Beam's RunInference under its names.

    num_inferences, failed_batches_counter, inference_request_batch_size,
    inference_batch_latency_micro_secs, model_byte_size and load_model_latency_milli_secs.
    """

    def __init__(self) -> None:
        super().__init__()
        count, spread = Metrics.counter, Metrics.distribution
        self._inferences = count(NAMESPACE, "num_inferences")
        self._failed_batches = count(NAMESPACE, "failed_batches_counter")
        self._batch_size = spread(NAMESPACE, "inference_request_batch_size")
        self._latency = spread(NAMESPACE, "inference_batch_latency_micro_secs")
        self._model_bytes = spread(NAMESPACE, "model_byte_size")
        self._load = spread(NAMESPACE, "load_model_latency_milli_secs")

    def _add_load(self, report: LoadReport) -> None:
        self._load.update(round(report.seconds * 1e3))
        self._model_bytes.update(report.nbytes)

    def _add_batch(self, report: BatchReport) -> None:
        super()._add_batch(report)
        if report.split:
            self._failed_batches.inc()
            return
        self._inferences.inc(report.rows)
        self._batch_size.update(report.rows)
        self._latency.update(round(report.seconds * 1e6))


def size_class(rows: int) -> str:
    """The counter of batches of about that size: batches_of_1, batches_of_2_to_3 and so on."""
    least = 1 << (max(rows, 1).bit_length() - 1)
    return "batches_of_1" if least == 1 else f"batches_of_{least}_to_{2 * least - 1}"


class StageTimes:
    """Seconds that the thread of a bundle spends in each stage, counted now and then.

    What is measured is added up in floats; `count` puts it into Beam's counters, such as
    preprocess_micro_secs, and is called once for many rows.
    """

    def __init__(self, *stages: str) -> None:
        self._seconds = dict.fromkeys(stages, 0.0)
        self._counters = {
            stage: Metrics.counter(NAMESPACE, f"{stage}_micro_secs") for stage in stages
        }

    @contextlib.contextmanager
    def measured(self, stage: str) -> Iterator[None]:
        """Add the time that the body takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        """Add time that was measured elsewhere."""
        self._seconds[stage] += seconds

    def count(self) -> None:
        """Put what was added into Beam's counters."""
        for stage, seconds in self._seconds.items():
            if seconds:
                self._counters[stage].inc(round(seconds * 1e6))
                self._seconds[stage] = 0.0


def count_failure(kind: str) -> None:
    """Count a failed element in Beam's counter for its kind, such as failures_data."""
    Metrics.counter(NAMESPACE, f"failures_{kind}").inc()


def count_reused(answered: int, failed: int) -> None:
    """Count rows that have the answer, or the failure, of another row with the same input."""
    Metrics.counter(NAMESPACE, "reused").inc(answered + failed)
    _counts.answered += answered
    _counts.failed += failed


def take_back(answered: int, kinds_of_failures: Sequence[str] = ()) -> None:
    """Take back the counts of rows that are counted once more, as reused or failed."""
    failed = len(kinds_of_failures)
    Metrics.counter(NAMESPACE, "reused").dec(answered)
    for kind in kinds_of_failures:
        Metrics.counter(NAMESPACE, f"failures_{kind}").dec()
    _counts.read -= answered + failed
    _counts.answered -= answered
    _counts.failed -= failed


#: The counter of values that a sink left out, because they do not fit the type of their column.
MISFITS = "values_that_do_not_fit"


def count_misfit() -> None:
    """Count a value that a sink left out."""
    Metrics.counter(NAMESPACE, MISFITS).inc()


@dataclass
class Counts:
    """Numbers of elements since the process started, or since `reset`; and of the batches' work.

    Not exact, for display alone: bundles on several threads may rarely lose a step.
    """

    read: int = 0
    answered: int = 0
    failed: int = 0
    batches: int = 0
    #: Chunks in them.
    rows: int = 0
    #: Without and with padding.
    tokens: int = 0
    padded: int = 0
    #: Seconds in the model, and between batches.
    busy: float = 0.0
    idle: float = 0.0

    def add(self, report: BatchReport) -> None:
        """Count a batch."""
        self.batches += 1
        self.rows += report.rows
        self.tokens += report.tokens
        self.padded += report.padded
        self.busy += report.seconds
        self.idle += report.idle

    def __add__(self, other: Counts) -> Counts:
        return Counts(*map(sum, zip(astuple(self), astuple(other), strict=True)))


_counts = Counts()


def counts() -> Counts:
    """The counts of this process, as they change."""
    return _counts


def reset() -> None:
    """Set the counts to zero."""
    for name, value in vars(Counts()).items():
        setattr(_counts, name, value)

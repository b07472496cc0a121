"""Metrics of the engine and the stages, for Beam's metrics and for a progress bar."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from apache_beam.metrics import Metrics

from ..engine.reports import BatchReport, LoadReport, Report
from ..options.metrics_namespace import NAMESPACE


class EngineMetrics:
    """Beam's counters and distributions of an engine's work, beside those of RunInference.

    padding_percent and batch_wait_micro_secs of each batch; compute_micro_secs, idle_micro_secs,
    splits_memory, splits_data, engine_restarts and replayed in total.
    """

    def __init__(self) -> None:
        count, spread = Metrics.counter, Metrics.distribution
        self._padding = spread(NAMESPACE, "padding_percent")
        self._wait = spread(NAMESPACE, "batch_wait_micro_secs")
        self._compute = count(NAMESPACE, "compute_micro_secs")
        self._idle = count(NAMESPACE, "idle_micro_secs")
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


def count_failure(kind: str) -> None:
    """Count a failed element in Beam's counter for its kind, such as failures_data."""
    Metrics.counter(NAMESPACE, f"failures_{kind}").inc()


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

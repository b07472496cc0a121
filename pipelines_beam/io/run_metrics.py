"""What Beam's metrics say of a job over files, whatever processes it ran in."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from apache_beam.metrics import MetricsFilter

from transforms.options.metrics_namespace import NAMESPACE

from .run_record import RunRecord

_BATCHES = re.compile(r"batches_of_(\d+)(?:_to_\d+)?")
_STAGES = ("read", "preprocess", "wait", "postprocess", "audit", "write", "compute", "idle")
_OTHER = ("splits_", "engine_restarts", "replayed", "failures_", "suspect_", "values_that_do_not")


class RunMetrics:
    """The metrics of one job.

    Args:
      result: Beam's, of a pipeline that has ended.
      label: the label of the job's transform.
      alone: whether all metrics of the pipeline are the job's.

    """

    def __init__(self, result: Any, label: str, *, alone: bool) -> None:
        found = result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
        self._prefix = "" if alone else f"{label}/"
        self._counters: Counter[str] = Counter()
        for each in filter(self._is_own, found["counters"]):
            self._counters[each.key.metric.name] += each.result
        self._spreads: dict[str, list[Any]] = {}
        for each in filter(self._is_own, found["distributions"]):
            self._spreads.setdefault(each.key.metric.name, []).append(each.result)

    def _is_own(self, metric: Any) -> bool:
        return str(metric.key.step).startswith(self._prefix)

    def add_to(self, record: RunRecord) -> None:
        """Put what they say into the record of the run."""
        count = self._counters
        record.rows, record.failed = count["rows_written"], count["rows_failed"]
        seconds = {name: count[f"{name}_micro_secs"] / 1e6 for name in _STAGES}
        loads = self._spreads.get("load_model_latency_milli_secs", [])
        record.stages = {"load": sum(each.sum for each in loads) / 1e3, **seconds}
        sizes = {match[1]: n for name, n in count.items() if (match := _BATCHES.fullmatch(name))}
        record.batches = dict(sorted(sizes.items(), key=lambda each: int(each[0])))
        waits = self._spreads.get("batch_wait_micro_secs", [])
        batches = sum(each.count for each in waits)
        record.queue_wait = sum(each.sum for each in waits) / 1e6 / batches if batches else 0.0
        record.tokens, record.padded_tokens = count["tokens"], count["padded_tokens"]
        bytes_ = [each.max for each in self._spreads.get("model_byte_size", [])]
        record.model_bytes = max(bytes_, default=0)
        record.counters = {
            name: n for name, n in sorted(count.items()) if n and name.startswith(_OTHER)
        }

"""What is asked of models, counted: a ModelHandler in a module that workers import, and engines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from transforms.engine.reports import BatchReport
from transforms.stages import metrics

loads: list[str] = []
batches: list[list[Any]] = []


class Counting(ModelHandler):  # type: ignore[misc]
    """Lengths of texts, times `factor`; a text with "bad" in it fails the batch that it is in."""

    def __init__(self, most: int | None = None, **options: Any) -> None:
        super().__init__(max_batch_size=most, **options)

    def load_model(self) -> str:
        loads.append("loaded")
        return "model"

    def run_inference(
        self, batch: Sequence[str], model: str, inference_args: Mapping[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        batches.append(list(batch))
        for text in batch:
            if "bad" in text:
                raise ValueError(f"cannot take {text}")
        factor = (inference_args or {}).get("factor", 1)
        return [PredictionResult(text, factor * len(text), model) for text in batch]

    def validate_inference_args(self, inference_args: Mapping[str, Any] | None) -> None:
        if set(inference_args or {}) - {"factor"}:
            raise ValueError(f"inference_args: only factor, got {sorted(inference_args or {})}")


class Broken(Counting):
    """Its model does not load."""

    def load_model(self) -> str:
        raise OSError("no such weights")


class Short(Counting):
    """It forgets the last example of a batch."""

    def run_inference(self, batch: Any, model: Any, inference_args: Any = None) -> Any:
        return super().run_inference(batch[:-1], model, inference_args)


@contextlib.contextmanager
def counted_inferences() -> Iterator[list[int]]:
    """The numbers of rows of all batches that are computed meanwhile: those of num_inferences."""
    counted: list[int] = []
    add = metrics.StageMetrics._add_batch

    def noted(self: metrics.StageMetrics, report: BatchReport) -> None:
        if not report.split:
            counted.append(report.rows)
        add(self, report)

    metrics.StageMetrics._add_batch = noted  # type: ignore[method-assign]
    try:
        yield counted
    finally:
        metrics.StageMetrics._add_batch = add  # type: ignore[method-assign]

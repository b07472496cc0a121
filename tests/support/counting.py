"""A ModelHandler that notes what is asked of it, in a module of its own: workers import it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apache_beam.ml.inference.base import ModelHandler, PredictionResult

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

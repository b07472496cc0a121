"""The last stage: Records of outputs to predictions."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from ..engine.errors import contained
from . import metrics
from .base import TaskStageFn, with_own_windows
from .model_updates import version_spec
from .record import Record
from .record_pipeline import MOST_PREFETCHED, RecordPipeline


class PostprocessFn(TaskStageFn):
    """Records with outputs to predictions."""

    stage = "postprocess"

    def setup(self) -> None:
        """Load the tokenizer or processors, but no weights."""
        self._pipelines: dict[str, RecordPipeline] = {}
        if self._function is None:
            self._pipeline(self._spec.model.source)
        self._result = self._binding.results()

    def _pipeline(self, model_id: str) -> RecordPipeline:
        """The weightless pipeline of a version of the model."""
        if model_id not in self._pipelines:
            spec = replace(self._spec, model=version_spec(self._spec.model, model_id))
            self._pipelines[model_id] = RecordPipeline(spec, self._binding.task)
        return self._pipelines[model_id]

    def start_bundle(self) -> None:
        """Drop what a failed bundle has left."""
        self._buffer: list[WindowedValue] = []

    def process(
        self, record: Record, windowed: WindowedValue = beam.DoFn.WindowedValueParam
    ) -> Iterable[Any]:
        """The prediction of one element; where many take less time, of a full buffer."""
        self._buffer.append(windowed)
        if len(self._buffer) < MOST_PREFETCHED and self.answers_together(record.model_id):
            return []
        return with_own_windows(self._flush(), windowed)

    def finish_bundle(self) -> Iterable[Any]:
        """The predictions of the elements that are left."""
        return self._flush()

    def _flush(self) -> list[Any]:
        """The predictions and failures of the buffered elements."""
        buffered, self._buffer = self._buffer, []
        predictions: list[Any] = []
        for model_id, group in itertools.groupby(buffered, lambda each: each.value.model_id):
            own = list(group)
            inferences = self.inferences([each.value for each in own], model_id)
            predictions += map(self._prediction, own, inferences)
        return predictions

    def _prediction(self, windowed: WindowedValue, inference: Any) -> Any:
        record = windowed.value
        try:
            if isinstance(inference, Exception):
                raise inference
            with contained:
                model_id = record.model_id or self._spec.model.source
                result = self._result(record.element, inference, model_id)
        except Exception as error:
            return self._failed(record.element, windowed, error)
        metrics.counts().answered += 1
        return windowed.with_value(result)

    def answers_together(self, model_id: str | None) -> bool:
        """Whether `inferences` takes less time for many Records of a version of the model."""
        if self._function is not None:
            return False
        return self._pipeline(model_id or self._spec.model.source).answers_together

    def inferences(self, records: Sequence[Record], model_id: str | None) -> list[Any]:
        """The inferences of Records with outputs, which a version of the model computed.

        In place of one the error that postprocessing it raised.
        """
        if self._function is None:
            return self._pipeline(model_id or self._spec.model.source).inferences(records)
        return list(map(self._call, records))

    def _call(self, record: Record) -> Any:
        """What the user's function makes of a Record's outputs; or its error."""
        assert self._function is not None
        outputs = record.chunks
        try:
            with contained:
                return self._function(outputs[0] if len(outputs) == 1 else outputs)
        except Exception as error:
            return error

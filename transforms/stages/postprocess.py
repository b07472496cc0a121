"""The last stage: Records of outputs to predictions."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from ..engine.errors import attempted, contained, result_of
from ..engine.tickets import each_unpacked
from . import metrics
from .base import TaskStageFn, with_own_windows
from .model_updates import version_spec
from .record import Record
from .record_pipeline import RecordPipeline


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

    def process(
        self, record: Record, windowed: WindowedValue = beam.DoFn.WindowedValueParam
    ) -> Iterable[Any]:
        """The prediction of one element.

        At once: what a DoFn yields at the end of a bundle is lost where Beam batches the elements
        of the next one, as it does for WriteToParquet without a schema.
        """
        model_id = record.model_id or self._spec.model.source
        try:
            with contained:
                result = self._result(record.element, self._inference(record, model_id), model_id)
        except Exception as error:
            return with_own_windows([self._failed(record.element, windowed, error)], windowed)
        metrics.counts().answered += 1
        return [result]

    def _inference(self, record: Record, model_id: str) -> Any:
        if self._function is None:
            group, record.group = record.group, None
            if group is not None and self.answers_together(model_id):
                return result_of(group.inference(record, self._pipeline(model_id).inferences))
            return self._pipeline(model_id).inference(record)
        outputs = each_unpacked(record.chunks)
        return self._function(outputs[0] if len(outputs) == 1 else outputs)

    def answers_together(self, model_id: str) -> bool:
        """Whether `inferences` takes less time for many Records of a version of the model."""
        return self._function is None and self._pipeline(model_id).answers_together

    def inferences(self, records: Sequence[Record], model_id: str) -> list[Any]:
        """The inferences of Records with outputs, which a version of the model computed.

        In place of one the error that postprocessing it raised.
        """
        if self._function is None:
            return self._pipeline(model_id).inferences(records)
        return [attempted(self._inference, record, model_id) for record in records]

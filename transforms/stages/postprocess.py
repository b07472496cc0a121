"""The last stage: Records of outputs to predictions."""

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from ..engine.errors import contained
from ..options.spec import Spec
from ..pipelines.construction_lock import computing
from ..pipelines.factory import weightless
from ..pipelines.split_call import SplitPipeline
from ..rows.binding import Binding
from . import metrics
from .base import StageFn, with_own_windows
from .model_updates import version
from .record import Record


class PostprocessFn(StageFn):
    """Records with outputs to predictions."""

    stage = "postprocess"

    def __init__(
        self,
        spec: Spec,
        handles_failures: bool,
        binding: Binding,
        function: Callable[[Any], Any] | None,
    ) -> None:
        super().__init__(spec, handles_failures)
        self._binding = binding
        self._function = function

    def setup(self) -> None:
        """Load the tokenizer or processors, but no weights."""
        self._calls: dict[str, SplitPipeline] = {}
        if self._function is None:
            self._call(self._spec.model.source)
        self._result = self._binding.results()

    def _call(self, model_id: str) -> SplitPipeline:
        """The pipeline of a version of the model."""
        if model_id not in self._calls:
            pipe = weightless(version(self._spec.model, model_id))
            self._calls[model_id] = SplitPipeline(pipe, self._spec.parameters)
        return self._calls[model_id]

    def process(
        self, record: Record, windowed: WindowedValue = beam.DoFn.WindowedValueParam
    ) -> Iterable[Any]:
        """The prediction of one element."""
        model_id = record.model_id or self._spec.model.source
        try:
            with contained:
                found = self._result(record.element, self._postprocess(record), model_id)
        except Exception as error:
            return with_own_windows([self._failed(record.element, windowed, error)], windowed)
        metrics.counts().answered += 1
        return [found]

    def _postprocess(self, record: Record) -> Any:
        if self._function is None:
            call = self._call(record.model_id or self._spec.model.source)
            with computing:
                return call.postprocess(record.example, record.chunks, record.counts)
        chunks = record.chunks
        return self._function(chunks[0] if len(chunks) == 1 else chunks)

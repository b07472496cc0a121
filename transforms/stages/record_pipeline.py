"""A task's pipeline between elements and Records: without weights, for one thread."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..media.decoding import decoded, stand_in
from ..options.spec import Spec
from ..pipelines.construction_lock import computing
from ..pipelines.factory import weightless
from ..pipelines.split_call import SplitPipeline
from ..tasks import Task
from .record import Record


class RecordPipeline:
    """Makes Records of examples, and inferences of what the engine answers.

    Not safe for use by several threads at once, as a tokenizer is not.
    """

    def __init__(self, spec: Spec, task: Task) -> None:
        self._split = SplitPipeline(weightless(spec.model), spec.parameters)
        self._task = task
        self._limits = spec.media_limits

    def prefetch(self, examples: Iterable[Any]) -> None:
        """Tokenize the texts among the examples that are preprocessed next, in one call."""
        self._split.prefetch([example for example in examples if type(example) is str])

    def decode(self, example: Any) -> Any:
        """The example with its media decoded; futures may stand for their bytes."""
        return decoded(example, self._task, self._split.pipe, self._limits)

    def record(self, element: Any, example: Any, decoded_example: Any) -> Record:
        """The Record of an element with the features of its example.

        The caller holds `computing`: for one element that was decoded, or for many.
        """
        chunks, counts = self._split.preprocess(decoded_example)
        return Record(element, stand_in(example, self._task), chunks, counts)

    def inference(self, record: Record, outputs: list[Any]) -> Any:
        """What the pipeline's call returns, given the model's outputs for each chunk."""
        with computing:
            return self._split.postprocess(record.example, outputs, record.counts)

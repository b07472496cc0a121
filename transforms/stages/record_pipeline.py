"""A task's weightless pipeline: examples to Records, and their outputs to inferences."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ..engine.errors import attempted, contained
from ..engine.tickets import each_unpacked
from ..media.decoding import decoded, stand_in
from ..options.late import import_libraries
from ..options.spec import Spec
from ..pipelines.construction_lock import computing
from ..tasks import Task
from .record import Record

_NONE: Mapping[str, Any] = MappingProxyType({})
MOST_PREFETCHED = 64  # texts in one call: a tokenizer gains nothing from more


class RecordPipeline:
    """Turns examples into Records of features, and Records with outputs into inferences.

    Not safe for use by several threads at once, as a tokenizer is not.

    Args:
      spec: the model and its parameters.
      task: declares the inputs.
      for_engine: whether the Records go to an engine directly, which takes pixels as uint8, and
        the features of texts as rows of blocks.

    """

    def __init__(self, spec: Spec, task: Task, for_engine: bool = False) -> None:
        import_libraries()
        from ..pipelines.factory import weightless
        from ..pipelines.requests import Requests
        from ..pipelines.split_call import SplitPipeline, sanitized

        pipe = weightless(spec.model)
        self._split = SplitPipeline(pipe, spec.parameters)
        forward = sanitized(pipe, spec.parameters)[1]
        self._requests = Requests(pipe, spec.parameters, forward)
        self._task = task
        self._limits = spec.media_limits
        self._resizes_there = spec.model.resize_on_device
        # What a class of others does to features in between is unknown.
        self._for_engine = for_engine and spec.model.pipeline_class is None

    @functools.cached_property
    def _deferral(self) -> Any:
        from ..batching.device_resize import WholeImages
        from ..batching.pixels import Deferral

        return (WholeImages if self._resizes_there else Deferral)(self._split.pipe)

    @functools.cached_property
    def repeats(self) -> bool:
        """Whether equal examples certainly have equal answers."""
        return not (self._task.draws or self._task.open_inputs) and self._requests.repeats

    def prefetch(self, examples: Iterable[Any]) -> None:
        """Tokenize the texts among the next examples in one call."""
        texts = [example for example in examples if type(example) is str]
        self._split.prefetch(texts, as_rows=self._for_engine)

    def decode(self, example: Any) -> Any:
        """The example with its media decoded; media may be futures of their bytes."""
        return decoded(example, self._task, self._split.pipe, self._limits)

    def record(
        self,
        element: Any,
        example: Any,
        decoded_example: Any,
        parameters: Mapping[str, Any] = _NONE,
    ) -> Record:
        """The Record of an element with the features of its example.

        `parameters` are those that the element has for itself. The caller must hold `computing`:
        taking it for many elements at once saves time.
        """
        preprocess = functools.partial(self._split.preprocess, decoded_example)
        chunks, counts = self._deferral.run(preprocess) if self._for_engine else preprocess()
        self._requests.add(chunks, parameters)
        return Record(element, stand_in(example, self._task), chunks, counts)

    def inference(self, record: Record) -> Any:
        """The result of the pipeline's call, given a Record with the outputs of each chunk."""
        with computing:
            outputs, answers = self._requests.parted(each_unpacked(record.chunks))
            found = self._split.postprocess(record.example, outputs, record.counts)
            return self._requests.answered(found, answers)

    @property
    def answers_together(self) -> bool:
        """Whether `inferences` takes less time for many Records, whose outputs are small."""
        return self._split.answers_together

    def inferences(self, records: Sequence[Record]) -> list[Any]:
        """The result of each Record; in place of it the error that postprocessing it raised."""
        if all(type(record.example) is str and len(record.chunks) == 1 for record in records):
            with contextlib.suppress(Exception), contained, computing:  # else one by one
                results = self._split.postprocess_texts([each.chunks[0] for each in records])
                if results is not None:
                    return results
        return [attempted(self.inference, record) for record in records]

"""The first stage: elements to Records of features."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from ..engine.errors import contained
from ..media.ahead import Ahead
from ..media.decoding import decoded, stand_in
from ..options.spec import Spec
from ..pipelines.construction_lock import computing
from ..pipelines.factory import weightless
from ..pipelines.split_call import SplitPipeline
from ..rows.binding import Binding
from . import metrics
from .base import StageFn, with_own_windows
from .record import Record

_MOST_PREFETCHED = 64  # a tokenizer gains nothing from more
_LONGEST_PREFETCH = 0.05  # seconds: a slow source must not keep the engine waiting


class PreprocessFn(StageFn):
    """Elements to Records; texts are tokenized a few at a time, remote media fetched ahead."""

    stage = "preprocess"

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
        self._call, self._ahead = None, None
        media = self._binding.task.media
        # Features of images are megabytes each: the window after this stage bounds them, and no
        # list of them may be made before it.
        self._most = 1 if media else _MOST_PREFETCHED
        if self._function is None:
            self._call = SplitPipeline(weightless(self._spec.model), self._spec.parameters)
            if media:
                self._ahead = Ahead(self._binding.task, self._spec.media_limits)

    def teardown(self) -> None:
        """Let the threads that fetch go."""
        if self._ahead is not None:
            self._ahead.close()

    def start_bundle(self) -> None:
        """Begin with a small buffer: the engine should soon have something to do."""
        self._buffer: list[WindowedValue] = []
        self._room = 1
        self._since = 0.0
        if self._ahead is not None:  # what a bundle that failed has left
            self._ahead.clear()

    def process(
        self, element: Any, windowed: WindowedValue = beam.DoFn.WindowedValueParam
    ) -> Iterable[Any]:
        """Buffer the element; give the Records of a full buffer."""
        if not self._buffer:
            self._since = time.monotonic()
        self._buffer.append(windowed)
        if len(self._buffer) < self._room and time.monotonic() - self._since < _LONGEST_PREFETCH:
            return []
        self._room = min(self._room * 2, self._most)
        return with_own_windows(self._flush(), windowed)

    def finish_bundle(self) -> Iterator[Any]:
        """Give the Records of what is left."""
        return self._flush(last=True)

    def _flush(self, last: bool = False) -> Iterator[Any]:
        """The Records and failures of the buffered elements, made one by one."""
        examples: list[tuple[tuple[WindowedValue, Any], Any]] = []
        buffered, self._buffer = self._buffer, []
        for windowed in buffered:
            try:
                with contained:
                    example = self._binding.example(windowed.value)
                examples.append(((windowed, example), example))
            except Exception as error:
                yield self._failed(windowed.value, windowed, error)
        metrics.counts().read += len(buffered)
        if self._ahead is not None:
            yield from map(self._record, self._ahead.through(examples, last))
            return
        if self._call is None:
            yield from map(self._record, examples)
            return
        with computing:
            self._call.prefetch([example for _, example in examples if type(example) is str])
            found = list(map(self._record, examples))
        yield from found

    def _record(self, ready: tuple[tuple[WindowedValue, Any], Any]) -> Any:
        """The Record of an element, or its failure."""
        (windowed, given), example = ready
        try:
            with contained:
                chunks, counts = self._preprocess(example)
        except Exception as error:
            return self._failed(windowed.value, windowed, error)
        shown = given if self._ahead is None else stand_in(given, self._binding.task)
        return windowed.with_value(Record(windowed.value, shown, chunks, counts))

    def _preprocess(self, example: Any) -> tuple[list[Any], list[int]]:
        if self._call is not None and self._ahead is None:
            return self._call.preprocess(example)
        if self._call is not None:
            limits = self._spec.media_limits
            ready = decoded(example, self._binding.task, self._call.pipe, limits)
            with computing:
                return self._call.preprocess(ready)
        assert self._function is not None
        features = self._function(example)
        chunks = [features] if isinstance(features, Mapping) else list(features)
        return chunks, [len(chunks)]

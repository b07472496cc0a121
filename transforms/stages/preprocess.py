"""The first stage: elements to Records of features."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from ..engine.errors import contained
from ..media.ahead import Ahead
from ..media.decode_ahead import DecodeAhead
from ..pipelines.construction_lock import computing
from ..rows.tables import TABLES
from . import live_counts, lost_runner, metrics
from .base import TaskStageFn, with_own_windows
from .record import Record
from .record_pipeline import MOST_PREFETCHED, RecordPipeline

_UNDECLARED = (
    "the elements are pyarrow tables, but the type of their PCollection does not say so: add "
    ".with_output_types(pyarrow.Table) to the step before"
)
_LONGEST_PREFETCH = 0.05  # seconds: a slow source must not keep the engine waiting


class PreprocessFn(TaskStageFn):
    """Elements to Records; texts are tokenized a few at a time, media fetched and decoded ahead.

    Args:
      for_engine: whether an engine takes the Records as they are, see RecordPipeline.

    """

    stage = "preprocess"

    def __init__(self, *stage: Any, for_engine: bool = False) -> None:
        super().__init__(*stage)
        self._for_engine = for_engine

    def setup(self) -> None:
        """Load the tokenizer or processors, but no weights."""
        live_counts.publish()
        lost_runner.watch()
        self.pipeline: RecordPipeline | None = None
        self.ahead: Ahead | None = None
        spec, task = self._spec, self._binding.task
        # Features of an image take megabytes: the window of the next stage bounds how many there
        # are, so no list of them may be created before it.
        self._most = 1 if task.media else MOST_PREFETCHED
        if self._function is None:
            self.pipeline = RecordPipeline(spec, task, self._for_engine)
            if task.media:
                self.ahead = Ahead(task, spec.media_limits)
                self._decode_ahead = DecodeAhead(task, spec.media_limits)

    def teardown(self) -> None:
        """End what fetches and decodes media."""
        if self.ahead is not None:
            self.ahead.close()
            self._decode_ahead.clear()

    def start_bundle(self) -> None:
        """Begin with a small buffer, so that the engine soon has something to compute."""
        self._buffer: list[WindowedValue] = []
        self._capacity = 1
        self._started = 0.0
        if self.ahead is not None:  # a failed bundle may have left elements
            self.ahead.clear()
            self._decode_ahead.clear()

    def process(
        self, element: Any, windowed: WindowedValue = beam.DoFn.WindowedValueParam
    ) -> Iterable[Any]:
        """Buffer the element; yield the Records of a full buffer.

        Raises TypeError for a table: it can no longer become one.
        """
        if isinstance(element, TABLES) and self._binding.of_rows:
            raise TypeError(_UNDECLARED)
        if not self._buffer:
            self._started = time.monotonic()
        self._buffer.append(windowed)
        if (
            len(self._buffer) < self._capacity
            and time.monotonic() - self._started < _LONGEST_PREFETCH
        ):
            return []
        self._capacity = min(self._capacity * 2, self._most)
        return with_own_windows(self._flush(), windowed)

    def finish_bundle(self) -> Iterator[Any]:
        """Yield the Records of the elements that are left."""
        return self._flush(last=True)

    def _flush(self, last: bool = False) -> Iterator[Any]:
        """The Records and failures of the buffered elements, created one by one."""
        examples: list[tuple[tuple[WindowedValue, Any, Mapping[str, Any]], Any]] = []
        buffered, self._buffer = self._buffer, []
        for windowed in buffered:
            try:
                with contained:
                    example = self._binding.example(windowed.value)
                    own = self._binding.parameters_of(windowed.value)
                examples.append(((windowed, example, own), example))
            except Exception as error:
                yield self._failed(windowed.value, windowed, error)
        metrics.counts().read += len(buffered)
        if self.ahead is not None:
            yield from map(self._record, self.fetched(examples, last))
            return
        if self.pipeline is None:
            yield from map(self._record, examples)
            return
        with computing:
            self.pipeline.prefetch(example for _, example in examples)
            records = list(map(self._record, examples))
        yield from records

    def fetched(self, examples: Iterable[tuple[Any, Any]], last: bool = False) -> Iterator[Any]:
        """(token, example) pairs whose media have been fetched, and images decoded, by now.

        With `last`, all of them, and those of earlier calls; it waits for them.
        """
        assert self.ahead is not None
        return self._decode_ahead.through(self.ahead.through(examples, last), last)

    def _record(self, fetched: tuple[tuple[WindowedValue, Any, Mapping[str, Any]], Any]) -> Any:
        """The Record or failure of an element.

        Given it with its example and its own parameters, and the example with fetched media.
        """
        (windowed, example, own), fetched_example = fetched
        try:
            with contained:
                record = self.record(windowed.value, example, fetched_example, own)
        except Exception as error:
            return self._failed(windowed.value, windowed, error)
        return windowed.with_value(record)

    def record(
        self, element: Any, example: Any, fetched_example: Any, own: Mapping[str, Any]
    ) -> Record:
        """The Record of an element; `fetched_example` may have futures in place of media.

        `own` are the parameters that the element has for itself.
        """
        if self.pipeline is None:
            assert self._function is not None
            features = self._function(example)
            chunks = [features] if isinstance(features, Mapping) else list(features)
            return Record(element, example, chunks, [len(chunks)])
        if self.ahead is None:
            return self.pipeline.record(element, example, example, own)
        decoded_example = self.pipeline.decode(fetched_example)
        with computing:
            return self.pipeline.record(element, example, decoded_example, own)

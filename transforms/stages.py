"""Preprocess, Forward and Postprocess: the three stages of every task."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from . import metrics, sharing
from .calls import Call
from .computing import computing
from .engine import Client, Engine, Ticket
from .failures import ElementError, failure, is_fatal, kind_of
from .media.ahead import Ahead
from .media.decoding import decoded, stand_in
from .pipelines import weightless
from .record import Record, nbytes
from .rows import Binding
from .spec import Spec

FAILED = "failed"

_MOST_PREFETCHED = 64  # a tokenizer gains nothing from more
_LONGEST_PREFETCH = 0.05  # seconds: a slow source must not keep the engine waiting
_UNSEEN_ANSWERS = 256  # elements in flight while nobody knows yet how large an answer is


class StageFn(beam.DoFn):  # type: ignore[misc]
    """What the stages have in common: where results go, and where failures do."""

    stage: str

    def __init__(self, spec: Spec, handles_failures: bool) -> None:
        self._spec = spec
        self._handles_failures = handles_failures

    def _failed(
        self, element: Any, windowed: WindowedValue, error: BaseException, attempts: int = 1
    ) -> TaggedOutput:
        """The failure row of an element, in its window; raises where rows are not asked for."""
        if is_fatal(error):
            raise error
        metrics.counts().failed += 1
        metrics.count_failure(kind_of(error))
        if not self._handles_failures:
            raise ElementError.of(self._spec.task, self.stage, element, error) from error
        return TaggedOutput(
            FAILED, windowed.with_value(failure(self.stage, element, error, attempts))
        )


class _Windows(tuple[Any, ...]):
    """Windows of a buffered element, as they are.

    Beam repeats the windows of what `process` yields as often as the element at hand has
    windows, taking it for that element's own output.
    """

    def __mul__(self, times: Any) -> Any:
        return self


def _kept(outputs: Iterable[Any], current: WindowedValue) -> Iterable[Any]:
    """Outputs of earlier elements, safe to yield while `current` is processed."""
    return outputs if len(current.windows) == 1 else map(_with_windows_kept, outputs)


def _with_windows_kept(output: Any) -> Any:
    windowed = output.value if isinstance(output, TaggedOutput) else output
    windowed.windows = _Windows(windowed.windows)
    return output


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
            self._call = Call(weightless(self._spec.model), self._spec.parameters)
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
        return _kept(self._flush(), windowed)

    def finish_bundle(self) -> Iterator[Any]:
        """Give the Records of what is left."""
        return self._flush(last=True)

    def _flush(self, last: bool = False) -> Iterator[Any]:
        """The Records and failures of the buffered elements, made one by one."""
        examples: list[tuple[tuple[WindowedValue, Any], Any]] = []
        buffered, self._buffer = self._buffer, []
        for windowed in buffered:
            try:
                example = self._binding.example(windowed.value)
                examples.append(((windowed, example), example))
            except Exception as error:
                yield self._failed(windowed.value, windowed, error)
        metrics.counts().read += len(buffered)
        if self._ahead is not None:
            yield from map(self._record, self._ahead.through(examples, last))
            return
        if self._call is not None:
            self._call.prefetch([example for _, example in examples if type(example) is str])
        yield from map(self._record, examples)

    def _record(self, ready: tuple[tuple[WindowedValue, Any], Any]) -> Any:
        """The Record of an element, or its failure."""
        (windowed, given), example = ready
        try:
            chunks, counts = self._preprocess(example)
        except Exception as error:
            return self._failed(windowed.value, windowed, error)
        shown = stand_in(given, self._binding.task)
        return windowed.with_value(Record(windowed.value, shown, chunks, counts))

    def _preprocess(self, example: Any) -> tuple[list[Any], list[int]]:
        if self._call is not None:
            limits = self._spec.media_limits
            ready = decoded(example, self._binding.task, self._call.pipe, limits)
            with computing:
                return self._call.preprocess(ready)
        assert self._function is not None
        features = self._function(example)
        chunks = [features] if isinstance(features, Mapping) else list(features)
        return chunks, [len(chunks)]


class ForwardFn(StageFn):
    """Records with features to Records with outputs, through the engine of this process.

    Elements are accepted while earlier ones are computed: as many as the window holds. Answers
    come in the order in which the engine finds them, each with its own timestamp and windows.
    """

    stage = "forward"

    def setup(self) -> None:
        """Take a share in the engine; it loads its model meanwhile."""
        self._client: Client | None = None
        self._answer_bytes: float | None = None
        self._metrics = metrics.StageMetrics()
        self._engine: Engine
        self._engine, self._release = sharing.acquire(self._spec)

    def teardown(self) -> None:
        """Give the share back: the last one closes the engine."""
        self._cancel()
        self._release()

    def _cancel(self) -> None:
        if self._client is not None:
            self._client.cancel()

    def start_bundle(self) -> None:
        """Forget an earlier bundle that failed."""
        self._cancel()
        self._client = self._engine.client(self._spec.parameters)
        self._in_flight = 0
        self._bytes = 0

    def process(
        self, record: Record, windowed: WindowedValue = beam.DoFn.WindowedValueParam
    ) -> Iterable[Any]:
        """Hand the chunks to the engine; give what it has answered by now."""
        assert self._client is not None
        size = record.nbytes + nbytes(record.element)
        self._client.submit((windowed, size), list(record.chunks))
        self._in_flight += 1
        self._bytes += size
        found = list(self._answered())
        while self._full():
            found.append(self._collect(self._client.answered.get()))
        return _kept(found, windowed)

    def finish_bundle(self) -> Iterator[Any]:
        """Give the rest."""
        assert self._client is not None
        while self._in_flight:
            yield self._collect(self._client.answered.get())

    def _answered(self) -> Iterator[Any]:
        assert self._client is not None
        while not self._client.answered.empty():
            yield self._collect(self._client.answered.get())

    def _full(self) -> bool:
        limits = self._spec.limits
        if self._answer_bytes is None:
            expected, most = 0.0, min(limits.window, _UNSEEN_ANSWERS)
        else:
            expected, most = self._in_flight * self._answer_bytes, limits.window
        over = self._bytes + expected > limits.window_bytes
        return self._in_flight > most or (over and self._in_flight > 1)

    def _collect(self, ticket: Ticket) -> Any:
        windowed, size = ticket.token
        record: Record = windowed.value
        self._in_flight -= 1
        self._bytes -= size
        self._metrics.add(ticket.reports)
        if ticket.error is not None:
            return self._failed(record.element, windowed, ticket.error, ticket.attempts)
        if self._answer_bytes is None or self._in_flight % 16 == 0:
            self._learn(nbytes(ticket.chunks))
        return windowed.with_value(
            Record(record.element, record.example, ticket.chunks, record.counts)
        )

    def _learn(self, size: int) -> None:
        """Expect answers as large as the larger ones were."""
        known = self._answer_bytes or 0.0
        self._answer_bytes = max(size, 0.9 * known + 0.1 * size)


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
        self._call = None
        if self._function is None:
            self._call = Call(weightless(self._spec.model), self._spec.parameters)
        self._result = self._binding.results(self._spec.model.model)

    def process(
        self, record: Record, windowed: WindowedValue = beam.DoFn.WindowedValueParam
    ) -> Iterable[Any]:
        """The prediction of one element."""
        try:
            inference = self._postprocess(record)
            metrics.counts().answered += 1
            return [self._result(record.element, inference)]
        except Exception as error:
            return _kept([self._failed(record.element, windowed, error)], windowed)

    def _postprocess(self, record: Record) -> Any:
        if self._call is not None:
            with computing:
                return self._call.postprocess(record.example, record.chunks, record.counts)
        assert self._function is not None
        chunks = record.chunks
        return self._function(chunks[0] if len(chunks) == 1 else chunks)

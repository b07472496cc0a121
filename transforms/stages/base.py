"""The base of all stages' DoFns: where results go, and where failures do."""

from collections.abc import Callable, Iterable
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from ..engine.errors import is_fatal, kind_of
from ..options.spec import Spec
from ..rows.binding import Binding
from . import metrics
from .failure_rows import ElementError, failure

FAILED = "failed"


class FailingFn(beam.DoFn):  # type: ignore[misc]
    """A step in which elements may fail: these go to an output of their own if that is handled."""

    stage: str

    def __init__(self, handles_failures: bool) -> None:
        self._handles_failures = handles_failures

    @property
    def _name(self) -> str:
        """The name of what runs, for messages."""
        raise NotImplementedError

    def _failed(
        self,
        element: Any,
        windowed: WindowedValue,
        error: BaseException,
        attempts: int = 1,
        stage: str | None = None,
    ) -> TaggedOutput:
        """The failure row of an element, in its window. Raises as `_failure` does."""
        row = self._failure(element, error, attempts, stage)
        return TaggedOutput(FAILED, windowed.with_value(row))

    def _failure(
        self, element: Any, error: BaseException, attempts: int = 1, stage: str | None = None
    ) -> beam.Row:
        """The failure row of an element.

        Raises ElementError unless failures are handled, and always the errors that end a job.
        """
        stage = stage or self.stage
        if is_fatal(error):
            raise error
        metrics.counts().failed += 1
        metrics.count_failure(kind_of(error))
        if not self._handles_failures:
            raise ElementError.of(self._name, stage, element, error) from error
        return failure(stage, element, error, attempts)


class StageFn(FailingFn):
    """A stage of a task."""

    def __init__(self, spec: Spec, handles_failures: bool) -> None:
        super().__init__(handles_failures)
        self._spec = spec

    @property
    def spec(self) -> Spec:
        """What it runs."""
        return self._spec

    @property
    def _name(self) -> str:
        return self._spec.task


class TaskStageFn(StageFn):
    """The first or last stage of a task, in whose place the user may have put a function.

    Args:
      spec: the model and its parameters.
      handles_failures: whether failures go to an output of their own.
      binding: where the inputs and predictions of an element are.
      function: the user's, in place of the pipeline's own stage.

    """

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


class _Windows(tuple[Any, ...]):
    """The windows of a buffered element, kept as they are.

    Beam repeats the windows of an output of `process` as often as the current element has
    windows, since it takes the output for that element's own.
    """

    def __mul__(self, times: Any) -> Any:
        return self


def with_own_windows(outputs: Iterable[Any], current: WindowedValue) -> Iterable[Any]:
    """Outputs of earlier elements, safe to yield while `current` is processed."""
    return outputs if len(current.windows) == 1 else map(_with_windows_kept, outputs)


def _with_windows_kept(output: Any) -> Any:
    windowed = output.value if isinstance(output, TaggedOutput) else output
    windowed.windows = _Windows(windowed.windows)
    return output

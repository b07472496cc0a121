"""Preprocess, Forward and Postprocess: the three stages of every task."""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput
from apache_beam.utils.windowed_value import WindowedValue

from ..engine.errors import is_fatal, kind_of
from ..options.spec import Spec
from . import metrics
from .failure_rows import ElementError, failure

FAILED = "failed"


class StageFn(beam.DoFn):  # type: ignore[misc]
    """What the stages have in common: where results go, and where failures do."""

    stage: str

    def __init__(self, spec: Spec, handles_failures: bool) -> None:
        self._spec = spec
        self._handles_failures = handles_failures

    @property
    def _name(self) -> str:
        """What runs, for messages."""
        return self._spec.task

    def _failed(
        self,
        element: Any,
        windowed: WindowedValue,
        error: BaseException,
        attempts: int = 1,
        stage: str | None = None,
    ) -> TaggedOutput:
        """The failure row of an element, in its window; raises where rows are not asked for."""
        stage = stage or self.stage
        if is_fatal(error):
            raise error
        metrics.counts().failed += 1
        metrics.count_failure(kind_of(error))
        if not self._handles_failures:
            raise ElementError.of(self._name, stage, element, error) from error
        return TaggedOutput(FAILED, windowed.with_value(failure(stage, element, error, attempts)))


class _Windows(tuple[Any, ...]):
    """Windows of a buffered element, as they are.

    Beam repeats the windows of what `process` yields as often as the element at hand has
    windows, taking it for that element's own output.
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

"""An element that could not be answered: an exception that says why, or a row that does."""

from __future__ import annotations

import traceback
from typing import Any, Self

import apache_beam as beam
from apache_beam.typehints.row_type import RowTypeConstraint

from .engine import EngineError


class ElementError(Exception):
    """One element failed: which, in which stage, and why. `__cause__` is the original error.

    Made from its message alone, as Beam makes it again when it adds the name of the step.
    """

    @classmethod
    def of(cls, task: str, stage: str, element: Any, error: BaseException) -> Self:
        """The error for an element of a task that failed in a stage."""
        return cls(
            f"{task}: {stage} failed for the element {_shown(element)}: "
            f"{type(error).__name__}: {error}. To keep going without such elements, use "
            "with_exception_handling() (in Beam YAML: error_handling)."
        )


def failure(stage: str, element: Any, error: BaseException) -> beam.Row:
    """The row that stands for a failed element: see `failure_type` for its columns."""
    return beam.Row(
        element=element,
        stage=stage,
        error=type(error).__name__,
        message=str(error),
        traceback="".join(traceback.format_exception(error)),
    )


def failure_type(element_type: Any) -> Any:
    """The schema of failure rows for elements of a type."""
    return RowTypeConstraint.from_fields(
        [
            ("element", element_type),
            ("stage", str),
            ("error", str),
            ("message", str),
            ("traceback", str),
        ]
    )


def is_fatal(error: BaseException) -> bool:
    """Whether no element could have been answered: not a matter of this one's data."""
    return isinstance(error, EngineError)


def _shown(element: Any) -> str:
    text = repr(element)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text)} characters)"

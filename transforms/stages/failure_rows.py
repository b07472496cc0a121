"""Failures of elements: the exception that names an element, and the row that stands for it."""

from __future__ import annotations

import traceback
from typing import Any, Self

import apache_beam as beam
from apache_beam.coders import registry
from apache_beam.typehints import typehints
from apache_beam.typehints.row_type import RowTypeConstraint

from ..engine.errors import contained, kind_of, message_of
from ..options.shown import cut, shown

_LONGEST = 2_000  # characters: some libraries repeat their whole input in a message
_LONGEST_TRACEBACK = 20_000


class ElementError(Exception):
    """One element failed: which, in which stage, and why. `__cause__` is the original error.

    It takes its message alone, since Beam creates it anew when it adds the name of the step.
    """

    @classmethod
    def of(cls, task: str, stage: str, element: Any, error: BaseException) -> Self:
        """The error for an element of a task that failed in a stage."""
        return cls(
            f"{task}: {stage} failed for the element {shown(element, 300)}: "
            f"{type(error).__name__}: {cut(message_of(error), _LONGEST)}. To keep going without "
            "such elements, use with_exception_handling() (in Beam YAML: error_handling)."
        )


def failure(stage: str, element: Any, error: BaseException, attempts: int = 1) -> beam.Row:
    """The row that stands for a failed element: see `failure_type` for its columns."""
    return beam.Row(
        element=_encodable(element),
        stage=stage,
        kind=kind_of(error),
        error=type(error).__name__,
        message=_text(cut(message_of(error), _LONGEST)),
        traceback=_text(_ends("".join(traceback.format_exception(error)))),
        attempts=attempts,
    )


def _encodable(element: Any) -> Any:
    """The element, or a text that shows it if Beam cannot encode it, such as an open file."""
    try:
        with contained:
            registry.get_coder(typehints.Any).encode(element)
    except Exception:
        return _text(shown(element, _LONGEST))
    return element


def _text(text: str) -> str:
    """The text with escapes for unpaired surrogates, which UTF-8 cannot encode."""
    return text.encode(errors="backslashreplace").decode()


def _ends(text: str) -> str:
    """The text without its middle if it is too long: the ends of a traceback say most."""
    half = _LONGEST_TRACEBACK // 2
    return text if len(text) <= 2 * half else f"{text[:half]}\n…\n{text[-half:]}"


def failure_type() -> Any:
    """The schema of failure rows.

    An element may be of any type: a failed one often does not match the type of its PCollection,
    and Beam would fail to encode it, or would change its numbers.
    """
    return RowTypeConstraint.from_fields(
        [
            ("element", typehints.Any),
            ("stage", str),
            ("kind", str),
            ("error", str),
            ("message", str),
            ("traceback", str),
            ("attempts", int),
        ]
    )

"""Parameters of generation that are this project's own, and the columns that they add."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, Optional

from ..options.shown import typed
from . import response_format
from .parameter_checks import condition, is_number
from .text_checks import Check

#: The column with the number of tokens in the prompt: one for all answers to it.
PROMPT = "prompt_tokens"
RESPONSE = "response"


def _seed(name: str, value: Any) -> None:
    if not is_number(value) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be a whole number from 0, got {typed(value)}")
    if operator.index(value) < 0:
        raise ValueError(f"{name} must be a whole number from 0, got {typed(value)}")


def _form(name: str, value: Any) -> None:
    response_format.normal(value)


#: The checks of the parameters, by name.
OWN_CHECKS: Mapping[str, Check] = {
    "seed": _seed,
    "details": condition,
    "response_format": _form,
}


def check_answers_in_text(parameters: Mapping[str, Any]) -> None:
    """Raise ValueError for what only texts have, where a model answers in something else."""
    mode = parameters.get("generation_mode")
    for name in ("details", "response_format") if mode in ("image", "audio") else ():
        if parameters.get(name):
            raise ValueError(f"{name} is for answers in text, got generation_mode={mode!r}")


def own_columns(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that the parameters add to those of a generated text, with their types."""
    found: dict[str, Any] = {}
    form = parameters.get("response_format")
    if form is not None:
        found[RESPONSE] = response_format.shape_of(response_format.normal(form)).kind
    if parameters.get("details"):
        found |= {PROMPT: int, "generated_tokens": int, "finish_reason": str}
        found["logprob"] = Optional[float]  # noqa: UP045 - Beam does not know `| None`
    return found

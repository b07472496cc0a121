"""Parameters of generation that are this project's own, and the columns that they add."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from . import response_format
from .parameter_checks import condition, whole
from .text_checks import Check

#: The column with the number of tokens in the prompt: one for all answers to it.
PROMPT = "prompt_tokens"
RESPONSE = "response"
#: The columns of `details`, with their types.
_DETAILS: Mapping[str, Any] = {
    PROMPT: int,
    "generated_tokens": int,
    "finish_reason": str,
    "logprob": Optional[float],  # noqa: UP045 - Beam does not know `| None`
}


def _form(name: str, value: Any) -> None:
    response_format.normal(value)


#: The checks of the parameters, by name.
OWN_CHECKS: Mapping[str, Check] = {
    "seed": whole(0),
    "details": condition,
    "response_format": _form,
}


def check_answers_in_text(parameters: Mapping[str, Any]) -> None:
    """Raise ValueError for what only texts have, where a model answers in something else."""
    mode = parameters.get("generation_mode")
    for name in ("details", "response_format") if mode in ("image", "audio") else ():
        if parameters.get(name):
            raise ValueError(f"{name} is for answers in text, got generation_mode={mode!r}")


def own_names(parameters: Mapping[str, Any]) -> list[str]:
    """The names of the columns that the parameters add: asked for each row."""
    form = [] if parameters.get("response_format") is None else [RESPONSE]
    return [*form, *_DETAILS] if parameters.get("details") else form


def own_columns(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that the parameters add to those of a generated text, with their types."""
    kinds = dict(_DETAILS)
    form = parameters.get("response_format")
    if form is not None:
        kinds[RESPONSE] = response_format.shape_of(response_format.normal(form)).kind
    return {name: kinds[name] for name in own_names(parameters)}

"""The forms in which a question and its context may come."""

from __future__ import annotations

from collections.abc import Mapping
from types import GeneratorType
from typing import Any

from torch.utils.data import Dataset

from ...options.shown import shown

_FORMS = (
    "{'question': ..., 'context': ...}, a list of such mappings, or the keywords question= and "
    "context="
)


def examples_of(args: tuple[Any, ...], question: Any, context: Any) -> Any:
    """A list of examples; a generator or dataset as it is, for its elements are checked later."""
    if args and (question is not None or context is not None):
        raise TypeError(f"the input must be one of {_FORMS}, not two of them")
    if not args:
        return _pairs(question, context)
    if len(args) == 2 and isinstance(args[0], str) and isinstance(args[1], str):
        return _pairs(*args)
    inputs = args[0] if len(args) == 1 else args
    if isinstance(inputs, GeneratorType | Dataset):
        return inputs
    if isinstance(inputs, Mapping) and {"question", "context"} <= inputs.keys():
        return _pairs(inputs["question"], inputs["context"])
    return [example_of(item) for item in (inputs if isinstance(inputs, list | tuple) else [inputs])]


def _pairs(question: Any, context: Any) -> list[dict[str, str]]:
    """Questions about one context, or each about its own."""
    questions = question if isinstance(question, list) else [question]
    contexts = context if isinstance(context, list) else [context] * len(questions)
    if len(questions) != len(contexts):
        raise ValueError(
            f"there must be as many questions as contexts, got {len(questions)} and {len(contexts)}"
        )
    return [
        example_of({"question": one, "context": other})
        for one, other in zip(questions, contexts, strict=True)
    ]


def example_of(item: Any) -> dict[str, str]:
    """A question and its context, checked; an object like transformers' SquadExample has both."""
    if not isinstance(item, Mapping) and hasattr(item, "question_text"):
        item = {"question": item.question_text, "context": item.context_text}
    if not isinstance(item, Mapping):
        raise TypeError(f"the input must be one of {_FORMS}, got {item!r:.80}")
    for name in ("question", "context"):
        value = item.get(name)
        if value is None:
            raise ValueError(f"the {name} is missing: the input must be one of {_FORMS}")
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a string, got {shown(value)}")
        if not value:
            raise ValueError(f"{name} must not be empty")
    return {"question": item["question"], "context": item["context"]}

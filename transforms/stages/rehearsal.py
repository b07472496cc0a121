"""The first stage tried on a small input: what only the tokenizer or processor can refuse."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..engine.errors import contained
from ..media.decoding import decoded
from ..options.media_limits import MediaLimits
from ..options.shown import cut, shown
from ..pipelines.construction_lock import computing
from ..pipelines.split_call import SplitPipeline
from ..tasks import REQUIRED, Task

_TEXT = "A word."
#: Short inputs by their names: what would fail with them fails with every input.
_INPUTS: Mapping[str, Any] = {
    "text": _TEXT,
    "question": "Who?",
    "query": "Who?",
    "context": _TEXT,
    "table": {"name": ["Anna", "Otto"], "age": ["7", "8"]},
    "word_boxes": [["word", [0, 0, 20, 10]]],
    "candidate_labels": ["one", "two"],
}


def check(pipe: Any, task: Task, parameters: Mapping[str, Any]) -> None:
    """Try the parameters on a small input.

    pipe: the pipeline without weights.

    Raises ValueError for a parameter with which the first stage fails, and without which it does
    not.
    """
    needed = {name for name in parameters if task.parameters.get(name) is REQUIRED}
    needed |= parameters.keys() & task.inputs.keys()
    sample = _sample(task, pipe, parameters)
    if sample is None or parameters.keys() <= needed:
        return
    error = _error(pipe, task, parameters, sample)
    if error is None or isinstance(error, ImportError):  # workers may have what is not here
        return
    if _error(pipe, task, _only(parameters, needed), sample) is not None:
        return  # the input does not suit the model
    for name in parameters.keys() - needed:
        if _error(pipe, task, _only(parameters, parameters.keys() - {name}), sample) is None:
            raise ValueError(
                f"{task.name}: {name} cannot be {shown(parameters[name])}: {_said(error)}"
            ) from error
    given = ", ".join(f"{name}={shown(value)}" for name, value in parameters.items())
    raise ValueError(f"{task.name}: {_said(error)} (given: {given})") from error


def _only(parameters: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name in names}


def _said(error: Exception) -> str:
    return cut(" ".join(str(error).split()) or type(error).__name__)


def _error(pipe: Any, task: Task, parameters: Mapping[str, Any], sample: Any) -> Exception | None:
    """What the first stage raises, given a small input."""
    try:
        with warnings.catch_warnings(), computing, contained:
            warnings.simplefilter("ignore")  # workers say it
            call = SplitPipeline(pipe, parameters)
            call.preprocess(decoded(sample, task, pipe, MediaLimits()))
    except Exception as error:
        return error
    return None


def _sample(task: Task, pipe: Any, parameters: Mapping[str, Any]) -> Any:
    """A small input of a task; None for a task of which none is known."""
    asked = [
        name
        for name in task.inputs
        if name not in task.optional_inputs or name in ("image", "word_boxes", "candidate_labels")
    ]
    found = {
        name: _medium(task.media[name]) if name in task.media else _INPUTS.get(name)
        for name in asked
        if name not in parameters
    }
    if task.open_inputs or not found or any(value is None for value in found.values()):
        return None
    mask = getattr(pipe.tokenizer, "mask_token", None)
    if task.name == "fill-mask":
        found["text"] = f"{_TEXT} {mask}"
    if task.lists == "words" and parameters.get("is_split_into_words"):
        found["text"] = _TEXT.split()
    return found if len(found) > 1 else next(iter(found.values()))


def _medium(kind: str) -> Any:
    """A small image, two of them, or a second of sound; None: of a video nobody knows how long."""
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    known = {
        "image": image,
        "images": [image, image],
        "audio": np.sin(np.arange(16_000, dtype=np.float32)),
        "chat": _TEXT,
    }
    return known.get(kind)

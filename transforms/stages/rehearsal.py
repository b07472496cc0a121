"""The first stage tried on a small example: finds what only the tokenizer or processor refuses."""

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
#: Short inputs by name: parameters that fail with them fail with every input.
_INPUTS: Mapping[str, Any] = {
    "text": _TEXT,
    "question": "Who?",
    "query": "Who?",
    "context": _TEXT,
    "table": {"name": ["Anna", "Otto"], "age": ["7", "8"]},
    "word_boxes": [["word", [0, 0, 20, 10]]],
    "candidate_labels": ["one", "two"],
}


def rehearse(pipe: Any, task: Task, parameters: Mapping[str, Any]) -> None:
    """Try the parameters on a small example.

    Args:
      pipe: the weightless pipeline.
      task: the task, which says what its inputs are.
      parameters: those of the job.

    Raises:
      ValueError: the first stage fails with a parameter, and succeeds without it.

    """
    needed = {name for name in parameters if task.parameters.get(name) is REQUIRED}
    needed |= parameters.keys() & task.inputs.keys()
    sample = _sample(task, pipe, parameters)
    if sample is None or parameters.keys() <= needed:
        return
    error = _error(pipe, task, parameters, sample)
    if error is None or isinstance(error, ImportError):  # workers may have the package
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
    """The error of the first stage for a small example, if any."""
    try:
        with warnings.catch_warnings(), computing, contained:
            warnings.simplefilter("ignore")  # the workers give them
            split = SplitPipeline(pipe, parameters)
            split.preprocess(decoded(sample, task, pipe, MediaLimits()))
    except Exception as error:
        return error
    return None


def _sample(task: Task, pipe: Any, parameters: Mapping[str, Any]) -> Any:
    """A small example of a task; None if there is none for it."""
    names = [
        name
        for name in task.inputs
        if name not in task.optional_inputs or name in ("image", "word_boxes", "candidate_labels")
    ]
    example = {
        name: _medium(task.media[name]) if name in task.media else _INPUTS.get(name)
        for name in names
        if name not in parameters
    }
    if task.open_inputs or not example or any(value is None for value in example.values()):
        return None
    mask = getattr(pipe.tokenizer, "mask_token", None)
    if task.name == "fill-mask":
        example["text"] = f"{_TEXT} {mask}"
    if task.lists == "words" and parameters.get("is_split_into_words"):
        example["text"] = _TEXT.split()
    return example if len(example) > 1 else next(iter(example.values()))


def _medium(kind: str) -> Any:
    """A small image, two images, or a second of sound; None for a video: its length varies."""
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    known = {
        "image": image,
        "images": [image, image],
        "audio": np.sin(np.arange(16_000, dtype=np.float32)),
        "chat": _TEXT,
    }
    return known.get(kind)

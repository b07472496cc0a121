"""The first stage tried on a small example: finds what only the tokenizer or processor refuses."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..engine.errors import PanicError, contained
from ..media.decoding import decoded
from ..options.media_limits import MediaLimits
from ..options.shown import cut, shown
from ..pipelines.construction_lock import computing
from ..pipelines.split_call import Features, SplitPipeline
from ..tasks import REQUIRED, Task

_TEXT = "A word."
#: Of every input by name, a usual one and one as short as can be: parameters that fail with both
#: fail with every input.
_INPUTS: Mapping[str, tuple[Any, Any]] = {
    "text": (_TEXT, "a"),
    "question": ("Who?", "a"),
    "query": ("Who?", "a"),
    "context": (_TEXT, "a"),
    "table": ({"name": ["Anna", "Otto"], "age": ["7", "8"]}, {"a": ["1"]}),
    "word_boxes": ([["word", [0, 0, 20, 10]]], [["a", [0, 0, 20, 10]]]),
    "candidate_labels": (["one", "two"], ["a"]),
}
_stderr_lock = threading.Lock()


def rehearse(pipe: Any, task: Task, parameters: Mapping[str, Any]) -> None:
    """Try the parameters on small examples.

    Args:
      pipe: the weightless pipeline.
      task: the task, which says what its inputs are.
      parameters: those of the job.

    Raises:
      ValueError: the first stage fails with a parameter, whatever the example, and succeeds
        without it.

    """
    needed = {name for name in parameters if task.parameters.get(name) is REQUIRED}
    needed |= parameters.keys() & task.inputs.keys()
    if parameters.keys() <= needed:
        return
    first = None
    suited = []
    for sample in _samples(task, pipe, parameters):
        error = _error(pipe, task, parameters, sample)
        if error is None or isinstance(error, ImportError):  # workers may have the package
            return
        if _error(pipe, task, _only(parameters, needed), sample) is None:
            suited.append(sample)
            first = first or error
    if first is None:
        return  # no example suits the model
    for name in parameters.keys() - needed:
        others = _only(parameters, parameters.keys() - {name})
        if any(_error(pipe, task, others, sample) is None for sample in suited):
            raise ValueError(
                f"{task.name}: {name} cannot be {shown(parameters[name])}: {_said(first, pipe)}"
            ) from first
    given = ", ".join(f"{name}={shown(value)}" for name, value in parameters.items())
    raise ValueError(f"{task.name}: {_said(first, pipe)} (given: {given})") from first


def first_stage(
    task: Task, pipe: Any, parameters: Mapping[str, Any]
) -> Callable[[Any], Sequence[Features]] | None:
    """What gives, for a pipeline, the features of a small example; None if there is none."""
    sample = next(_samples(task, pipe, parameters), None)
    if sample is None:
        return None

    def preprocess(pipe: Any) -> Sequence[Features]:
        with computing, contained:
            split = SplitPipeline(pipe, parameters)
            return split.preprocess(decoded(sample, task, pipe, MediaLimits()))[0]

    return preprocess


def _only(parameters: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name in names}


#: What a pipeline consists of: Python puts one that was called wrongly into its message, whole.
_COMPONENTS = ("processor", "tokenizer", "image_processor", "feature_extractor", "model")


def _said(error: Exception, pipe: Any) -> str:
    """An error's message, with the names of the pipeline's components in place of their repr."""
    message = str(error)
    for name in _COMPONENTS:
        component = getattr(pipe, name, None)
        if component is not None and len(message) > len(kind := type(component).__name__):
            message = message.replace(str(component), kind)
    return cut(" ".join(message.split()) or type(error).__name__)


@contextlib.contextmanager
def _without_panics() -> Iterator[None]:
    """Nothing on stderr of a Rust panic, which is raised, too; all else that is written there."""
    with _stderr_lock, tempfile.TemporaryFile() as file:
        try:
            kept = os.dup(2)
        except OSError:  # the process has none
            yield
            return
        panicked = False
        os.dup2(file.fileno(), 2)
        try:
            yield
        except PanicError:
            panicked = True
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            if not panicked and (written := file.read()):
                os.write(2, written)


def _error(pipe: Any, task: Task, parameters: Mapping[str, Any], sample: Any) -> Exception | None:
    """The error of the first stage for a small example, if any."""
    try:
        with _without_panics(), warnings.catch_warnings(), computing, contained:
            warnings.simplefilter("ignore")  # the workers give them
            split = SplitPipeline(pipe, parameters)
            split.preprocess(decoded(sample, task, pipe, MediaLimits()))
    except Exception as error:
        return error
    return None


def _samples(task: Task, pipe: Any, parameters: Mapping[str, Any]) -> Iterator[Any]:
    """Small examples of a task, usual ones first; none if there is none for it."""
    names = [
        name
        for name in task.inputs
        if name not in task.optional_inputs or name in ("image", "word_boxes", "candidate_labels")
    ]
    for short in (False, True):
        example = {
            name: _medium(task.media[name]) if name in task.media else _text(name, short)
            for name in names
            if name not in parameters
        }
        if task.open_inputs or not example or any(value is None for value in example.values()):
            return
        mask = getattr(pipe.tokenizer, "mask_token", None)
        if task.name == "fill-mask":
            example["text"] = f"{mask}" if short else f"{_TEXT} {mask}"
        if task.lists == "words" and parameters.get("is_split_into_words"):
            example["text"] = example["text"].split()
        yield example if len(example) > 1 else next(iter(example.values()))
    if task.lists == "chat":
        yield from _chats()


def _text(name: str, short: bool) -> Any:
    return _INPUTS[name][short] if name in _INPUTS else None


def _chats() -> Iterator[Any]:
    """A chat as tasks of texts take it, one as tasks of media do, and one with an image."""
    block = {"type": "text", "text": "a"}
    image = {"type": "image", "image": Image.fromarray(_medium("image"))}
    for content in ("a", [block], [image, block]):
        yield [{"role": "user", "content": content}]


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

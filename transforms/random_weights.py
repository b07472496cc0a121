"""Weights that a checkpoint does not have: whether a task reads them is tried before it answers.

transformers fills them with random numbers and says so in a log. Many are never read: a pooler
whose vector nobody takes, a token that stands for masked positions in training. So the first
chunk is run as the model is, and with other values in these weights. If its outputs differ, they
are read.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.pipelines.base import ChunkPipeline

from .agreement import agrees
from .failures import EngineError, is_out_of_memory
from .patches import Loaded

logger = logging.getLogger(__name__)

_SHOWN = 5  # names in a message
#: What is put in place of weights. Outputs that are NaN anyway are others with a number.
_VALUES = (float("nan"), 0.5)
_APART = 16  # weights that are tried one by one, to name those that are read


@dataclass(frozen=True)
class RandomWeight:
    """A weight that was made at random, or with a constant that training was to replace."""

    model: Any
    name: str
    #: What the model had under the name when it was loaded.
    made: torch.Tensor

    def tensor(self) -> torch.Tensor | None:
        """The weight where it is now; None where it is not to be found, or is not in memory."""
        found: Any = self.made
        # An adapter may have given it another name.
        if not any(found is each for each in self.model.parameters()):
            owner, _, name = self.name.rpartition(".")
            try:
                found = getattr(self.model.get_submodule(owner), name)
            except AttributeError:
                return None
        return None if found.is_meta or hasattr(found, "__tensor_flatten__") else found


def of(loaded: Sequence[Loaded]) -> list[RandomWeight]:
    """The weights that models were given in place of what their checkpoints do not have."""
    return [
        RandomWeight(each.model, name, made)
        for each in loaded
        for name, made in each.made.items()
        if isinstance(made, torch.nn.Parameter) or _is_constant(made)
    ]


def _is_constant(buffer: torch.Tensor) -> bool:
    """Whether a buffer waits to be filled by training: others are computed, as positions are."""
    if buffer.is_meta or not buffer.is_floating_point() or buffer.numel() < 2:
        return False
    return bool((buffer == buffer.flatten()[0]).all())


class Trial:
    """Tries, once for each set of features, whether a pipeline reads random weights.

    Args:
      pipe: the pipeline.
      weights: the weights in question.
      forward: runs one chunk.
      postprocess: keywords of the pipeline's postprocess.
      model: its name, for messages.

    """

    def __init__(
        self,
        pipe: Any,
        weights: Sequence[RandomWeight],
        forward: Callable[[Any], Any],
        postprocess: Mapping[str, Any],
        model: str,
    ) -> None:
        self._pipe = pipe
        self._weights = weights
        self._forward = forward
        self._postprocess = dict(postprocess)
        self._model = model
        #: Names of features that were tried.
        self._tried: set[frozenset[str]] = set()

    def check(self, chunks: Sequence[Any]) -> None:
        """Raises EngineError where the outputs of a chunk depend on random weights.

        A chunk that cannot be answered anyway shows nothing: the next one is tried then.
        """
        for chunk in chunks:
            names = frozenset(chunk) if isinstance(chunk, Mapping) else frozenset[str]()
            if names in self._tried:
                continue
            found = self._read(chunk)
            if found is None:
                continue
            if found:
                raise EngineError(_message(self._model, self._pipe.task, found))
            self._tried.add(names)

    def _read(self, chunk: Any) -> Sequence[RandomWeight] | None:
        """The weights that a chunk's outputs depend on; None: it fails without that."""
        try:
            with _same_draws():
                right = self._forward(chunk)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return None
        if not self._depends(chunk, right, self._weights):
            return []
        if len(self._weights) > _APART:
            return self._weights
        read = [each for each in self._weights if self._depends(chunk, right, [each])]
        return read or self._weights

    def _depends(self, chunk: Any, right: Any, weights: Sequence[RandomWeight]) -> bool:
        """Whether a chunk's outputs change with what is in these weights."""
        tensors = [weight.tensor() for weight in weights]
        known = [tensor for tensor in tensors if tensor is not None]
        if len(known) < len(tensors):
            return True  # quantized, or not in memory: nothing can be tried
        return any(self._differs(chunk, right, known, value) for value in _VALUES)

    def _differs(
        self, chunk: Any, right: Any, tensors: Sequence[torch.Tensor], value: float
    ) -> bool:
        try:
            with _same_draws(), _filled(tensors, value):
                spoilt = self._forward(chunk)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return True
        return not agrees(right, spoilt) and self._takes(right, spoilt)

    def _takes(self, right: Any, spoilt: Any) -> bool:
        """Whether the pipeline's postprocess takes any of the outputs that differ."""
        if not isinstance(right, Mapping) or right.keys() != spoilt.keys():
            return True
        rest = {name: each for name, each in right.items() if agrees(each, spoilt[name])}
        kind: Any = type(right)
        try:
            return not agrees(self._answer(right), self._answer(kind(rest)))
        except Exception:
            return True

    def _answer(self, outputs: Any) -> Any:
        given = copy.copy(outputs)
        if not isinstance(self._pipe, ChunkPipeline):
            return self._pipe.postprocess(given, **self._postprocess)
        given.pop("is_last", None)
        return self._pipe.postprocess([given], **self._postprocess)


def _same_draws() -> contextlib.AbstractContextManager[None]:
    """Whatever is drawn at random in here is drawn again by whoever comes next."""
    found: contextlib.AbstractContextManager[None] = torch.random.fork_rng(
        range(torch.cuda.device_count())
    )
    return found


@contextlib.contextmanager
def _filled(tensors: Sequence[torch.Tensor], value: float) -> Iterator[None]:
    """Have one number in the whole of these tensors."""
    kept = [tensor.detach().clone() for tensor in tensors]
    try:
        with torch.no_grad():
            for tensor in tensors:
                tensor.fill_(value)
        yield
    finally:
        with torch.no_grad():
            for tensor, values in zip(tensors, kept, strict=True):
                tensor.copy_(values)


def _message(model: str, task: str, weights: Sequence[RandomWeight]) -> str:
    names = [weight.name for weight in weights]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (
        f"the checkpoint of the model {model!r} lacks {len(names)} weights that {task} reads "
        f"({', '.join(names[:_SHOWN])}{more}): they are random. Use a checkpoint that was trained "
        "for this task, or set allow_random_weights=True"
    )


def warn(model: str, weights: Sequence[RandomWeight]) -> None:
    """Say in the log which weights are random and allowed to be."""
    if weights:
        names = ", ".join(weight.name for weight in weights[:_SHOWN])
        logger.warning("%s: %d weights are random, as allowed: %s", model, len(weights), names)

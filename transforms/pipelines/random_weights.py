"""Weights that a checkpoint does not have: whether a task reads them is tried before it answers.

transformers fills them with random numbers and says so in a log. Many are never read: a pooler
whose vector is not used, a token that stands for masked positions in training. So the first
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

from ..engine.blocks import names_of, unpacked
from ..engine.errors import EngineError, is_fatal, is_out_of_memory
from .agreement import agrees
from .patches import Loaded

logger = logging.getLogger(__name__)

_SHOWN = 5  # names in a message
#: What is put in place of weights. NaN comes last: an accelerator may end the process over it.
_VALUES = (0.5, float("nan"))
_APART = 16  # weights that are tried one by one, to name those that are read


@dataclass(frozen=True)
class RandomWeight:
    """A weight that was made at random, or with a constant that training was to replace."""

    model: Any
    name: str
    #: What the model had under the name when it was loaded.
    made: torch.Tensor
    #: The shape that it has in the checkpoint, where that is another one; None: it is not there.
    saved_shape: tuple[int, ...] | None = None

    @contextlib.contextmanager
    def spoilt(self, value: float) -> Iterator[None]:
        """Have one number in the whole of the weight.

        Where it is quantized, or not in memory, in what its module gives.
        """
        tensor = self._tensor()
        if tensor is None:
            with self._module_spoilt(value):
                yield
            return
        kept = tensor.detach().clone()
        try:
            with torch.no_grad():
                tensor.fill_(value)
            yield
        finally:
            with torch.no_grad():
                tensor.copy_(kept)

    def _tensor(self) -> torch.Tensor | None:
        """The weight where it is now; None where it cannot be filled."""
        found: Any = self.made
        # An adapter may have given it another name.
        if not any(found is each for each in self.model.parameters()):
            found = getattr(self._module(), self.name.rpartition(".")[2])
        quantized = hasattr(found, "__tensor_flatten__") or not found.is_floating_point()
        return None if found.is_meta or quantized else found

    def _module(self) -> Any:
        owner, _, name = self.name.rpartition(".")
        try:
            module = self.model.get_submodule(owner)
            getattr(module, name)
        except AttributeError:
            raise self._untold() from None
        return module

    @contextlib.contextmanager
    def _module_spoilt(self, value: float) -> Iterator[None]:
        def spoil(module: Any, inputs: Any, output: Any) -> torch.Tensor:
            if not isinstance(output, torch.Tensor):
                raise self._untold()
            return torch.full_like(output, value)

        handle = self._module().register_forward_hook(spoil)
        try:
            yield
        finally:
            handle.remove()

    def _untold(self) -> EngineError:
        return EngineError(
            f"the checkpoint lacks the weight {self.name}, which is random, and it cannot be told "
            "whether the task reads it: set allow_random_weights=True if it does not"
        )


def of(loaded: Sequence[Loaded]) -> list[RandomWeight]:
    """The weights that models were given in place of what their checkpoints do not have."""
    return [
        RandomWeight(each.model, name, made, _shapes(each).get(name))
        for each in loaded
        for name, made in each.made.items()
        if isinstance(made, torch.nn.Parameter) or _is_constant(made)
    ]


def _shapes(loaded: Loaded) -> dict[str, tuple[int, ...]]:
    return {name: tuple(saved) for name, saved, _ in loaded.mismatched}


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
            names = names_of(chunk)
            if names in self._tried:
                continue
            found = self._read(unpacked(chunk))
            if found is None:
                continue
            if found:
                raise EngineError(_message(self._model, self._pipe.task, found))
            self._tried.add(names)

    def _read(self, chunk: Any) -> Sequence[RandomWeight] | None:
        """The weights that a chunk's outputs depend on; None: it fails whatever is in them."""
        try:
            with self._same_draws():
                right = self._forward(chunk)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return self._weights if self._answered_with_zeros(chunk) else None
        if not self._depends(chunk, right, self._weights):
            return []
        if len(self._weights) > _APART:
            return self._weights
        read = [each for each in self._weights if self._depends(chunk, right, [each])]
        return read or self._weights

    def _answered_with_zeros(self, chunk: Any) -> bool:
        """Whether a chunk fails only by what is in the weights.

        diffusers leaves in them what the memory held before: NaN, now and then.
        """
        try:
            with self._same_draws(), self._spoilt(self._weights, 0.0):
                self._forward(chunk)
        except Exception as error:
            if is_out_of_memory(error) or is_fatal(error):
                raise
            return False
        return True

    def _depends(self, chunk: Any, right: Any, weights: Sequence[RandomWeight]) -> bool:
        """Whether a chunk's outputs change with what is in these weights."""
        return any(self._differs(chunk, right, weights, value) for value in _VALUES)

    def _differs(
        self, chunk: Any, right: Any, weights: Sequence[RandomWeight], value: float
    ) -> bool:
        try:
            with self._same_draws(), self._spoilt(weights, value):
                spoilt = self._forward(chunk)
        except Exception as error:
            if is_out_of_memory(error) or is_fatal(error):
                raise
            return True
        return not agrees(right, spoilt) and self._takes(right, spoilt)

    @staticmethod
    @contextlib.contextmanager
    def _spoilt(weights: Sequence[RandomWeight], value: float) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for weight in weights:
                stack.enter_context(weight.spoilt(value))
            yield

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

    def _same_draws(self) -> contextlib.AbstractContextManager[None]:
        """What follows draws the same random numbers as if nothing had been drawn in here."""
        devices = {each.device for each in self._pipe.model.parameters()}
        numbers = [device.index or 0 for device in devices if device.type == "cuda"]
        found: contextlib.AbstractContextManager[None] = torch.random.fork_rng(numbers)
        return found


def _message(model: str, task: str, weights: Sequence[RandomWeight]) -> str:
    names = [_described(weight) for weight in weights]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    found = f"lacks {len(names)} weights"
    if all(weight.saved_shape is not None for weight in weights):
        found = f"has {len(names)} weights in another shape"
    return (
        f"the checkpoint of the model {model!r} {found} that {task} reads "
        f"({', '.join(names[:_SHOWN])}{more}): they are random. Use a checkpoint that was trained "
        "for this task, or set allow_random_weights=True"
    )


def _described(weight: RandomWeight) -> str:
    if weight.saved_shape is None:
        return weight.name
    return f"{weight.name}: {weight.saved_shape} in place of {tuple(weight.made.shape)}"


def warn(model: str, weights: Sequence[RandomWeight]) -> None:
    """Say in the log which weights are random and allowed to be."""
    if weights:
        names = ", ".join(weight.name for weight in weights[:_SHOWN])
        logger.warning("%s: %d weights are random, as allowed: %s", model, len(weights), names)

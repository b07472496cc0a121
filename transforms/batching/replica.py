"""A loaded model and the calls made to it: what an engine computes with."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import torch
from transformers.utils import ModelOutput

from ..engine import allocator
from ..options.spec import ModelSpec
from ..pipelines import factory, random_weights
from ..pipelines.custom import task_of
from ..pipelines.generation import generates
from ..pipelines.generation_control import control_generate
from . import compiled
from .device import Device
from .program import Program, is_accelerated
from .verified_program import VerifiedProgram


class Replica:
    """One model on one device: the spec's, unless another is given."""

    def __init__(self, spec: ModelSpec, device: int | None = None) -> None:
        if device is not None:
            spec = dataclasses.replace(spec, device=device)
        self.spec = spec
        self._pipe = factory.load(spec)
        if not self.accelerated:
            allocator.keep()
        _drop_unread_outputs(self._pipe, task_of(spec).outputs)
        if spec.allow_random_weights:
            random_weights.warn(spec.source, self._pipe.random_weights)
        if self.generates:
            _find_stop_strings(self._pipe)
            control_generate(self._pipe.model)
        #: Where it need not be waited for: `generate` waits by itself, and what a class of the
        #: user's does is unknown.
        waits = self.generates or spec.pipeline_class is not None
        self._device = None if waits else Device.of(self._pipe)
        self._compiled: compiled.Compiled | None = None
        if spec.torch_compile is not False:
            self._compiled = compiled.Compiled(self._pipe.model, spec.torch_compile)

    @property
    def accelerated(self) -> bool:
        """Whether the model, or a part of it, runs on something other than the CPU."""
        return is_accelerated(self._pipe)

    @property
    def overlaps(self) -> bool:
        """Whether a batch may be launched while its device works on the one before."""
        return self._device is not None

    @property
    def nbytes(self) -> int:
        """Bytes of the weights."""
        return sum(_nbytes(weight) for weight in self._pipe.model.parameters())

    @property
    def generates(self) -> bool:
        """Whether the model answers token by token."""
        return generates(self._pipe)

    def program(self, parameters: Mapping[str, Any]) -> Program:
        """The model with one stage's parameters. Raises what transformers says of bad values."""
        if self.spec.pipeline_class is None:
            return Program(self._pipe, self.spec, parameters, self._compiled, self._device)
        return VerifiedProgram(self._pipe, self.spec, parameters, self._compiled)


def _nbytes(weight: torch.Tensor) -> int:
    """Bytes of a weight; of a quantized one, those of the tensors that it is made of."""
    if not hasattr(weight, "__tensor_flatten__"):
        return weight.nbytes
    names, _ = weight.__tensor_flatten__()
    return sum(_nbytes(getattr(weight, name)) for name in names)


def _drop_unread_outputs(pipe: Any, names: frozenset[str]) -> None:
    """Let the pipeline's model give only the outputs of these names, if there are any.

    What postprocess does not read would only be moved, kept and sent. What the pipeline hands
    through from the features stays; so does everything where the model gives none of the names:
    its postprocess is one of its own.
    """
    if not names:
        return
    forward = pipe._forward

    def slim(features: Any, **parameters: Any) -> Any:
        kept = names | set(features)
        outputs = forward(features, **parameters)
        if not names & set(outputs):
            return outputs
        kind = ModelOutput if isinstance(outputs, ModelOutput) else dict
        return kind({name: value for name, value in outputs.items() if name in kept})

    pipe._forward = slim


def _find_stop_strings(pipe: Any) -> None:
    """Have `generate` given the pipeline's tokenizer where there are stop strings to find by it."""
    model, tokenizer = pipe.model, pipe.tokenizer
    generate = model.generate

    @functools.wraps(generate)
    def found(*args: Any, **keywords: Any) -> Any:
        if keywords.get("tokenizer") is None and _stop_strings(model, keywords):
            keywords["tokenizer"] = tokenizer
        return generate(*args, **keywords)

    if tokenizer is not None:
        model.generate = found


def _stop_strings(model: Any, keywords: Mapping[str, Any]) -> Any:
    if "stop_strings" in keywords:
        return keywords["stop_strings"]
    config = keywords.get("generation_config") or getattr(model, "generation_config", None)
    return getattr(config, "stop_strings", None)

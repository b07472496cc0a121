"""A loaded model and the calls made to it: what an engine computes with."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers.utils import ModelOutput

from . import collate, malloc, pipelines, random_weights, speed
from .calls import Features, Outputs, fresh, sanitized
from .computing import computing
from .failures import contained
from .lengths import Lengths
from .padding import Padding, generates, padding_of
from .random_weights import Trial
from .spec import ModelSpec
from .tasks import task_of

logger = logging.getLogger(__name__)

_alone = itertools.count()


class Program:
    """One model with the parameters of one stage: places chunks and answers batches of them."""

    def __init__(
        self,
        pipe: Any,
        spec: ModelSpec,
        parameters: Mapping[str, Any],
        compiled: speed.Compiled | None = None,
    ) -> None:
        self._pipe = pipe
        self._compiled = compiled
        task = task_of(spec)
        self._token_outputs = task.token_outputs
        _, forward, postprocess = sanitized(pipe, parameters)
        self._forward = {**pipe._forward_params, **forward}
        self._trial: Trial | None = None
        weights = getattr(pipe, "random_weights", ())
        if weights and not spec.allow_random_weights:
            postprocess = {**pipe._postprocess_params, **postprocess}
            self._trial = Trial(pipe, weights, self._run_one, postprocess, spec.model)
        self._padding = padding_of(pipe, self._forward)
        self._lengths = Lengths(pipe, task, self._forward, is_accelerated(pipe))

    def place(self, features: Features) -> collate.Place:
        """With which chunks this one may share a batch, and its length in tokens."""
        return collate.place(features, self._padding, next(_alone))

    def run(self, chunks: Sequence[Features]) -> list[Outputs]:
        """The outputs of each chunk. What the model raises goes through."""
        with computing:
            if self._trial is not None:
                with contextlib.nullcontext() if self._compiled is None else self._compiled.eager():
                    self._trial.check(chunks)
            if self._compiled is None:
                return self._run(chunks)
            return self._compiled.run(lambda: self._run(chunks))

    def _run(self, chunks: Sequence[Features]) -> list[Outputs]:
        if len(chunks) == 1:
            return [self._alone(chunks[0])]
        if not self._padding.batches:  # found out since they were placed
            return [self._run([chunk])[0] for chunk in chunks]
        try:
            return self._together(chunks)
        except collate.UnbatchError as error:
            logger.info("%s runs one at a time: %s", self._pipe.task, error)
            self._padding = Padding(None, batches=False)
            return [self._run([chunk])[0] for chunk in chunks]

    def _run_one(self, chunk: Features) -> Outputs:
        # The model may write into what it is given, and a failed batch is run again.
        return self._answered(_own(chunk))

    def _together(self, chunks: Sequence[Features]) -> list[Outputs]:
        rows = collate.rows_of(chunks, self._padding, self._token_outputs)
        batch = collate.collate(chunks, self._padding)
        return collate.uncollate(self._answered(batch), rows)

    def _alone(self, chunk: Features) -> Outputs:
        try:
            return self._run_one(chunk)
        except Exception as error:
            explained = self._lengths.explained(error, chunk)
            if explained is error:
                raise
            raise explained from error

    def _answered(self, features: Features) -> Outputs:
        with contained, self._lengths.guard(features):
            return self._pipe.forward(features, **fresh(self._forward))


class Replica:
    """One model on one device: the spec's, unless another is given."""

    def __init__(self, spec: ModelSpec, device: int | None = None) -> None:
        if device is not None:
            spec = dataclasses.replace(spec, device=device)
        self.spec = spec
        self._pipe = pipelines.load(spec)
        if not self.accelerated:
            malloc.keep()
        _slim(self._pipe, task_of(spec).outputs)
        if spec.allow_random_weights:
            random_weights.warn(spec.model, self._pipe.random_weights)
        if self.generates:
            _find_stop_strings(self._pipe)
        self._compiled: speed.Compiled | None = None
        if spec.torch_compile is not False:
            self._compiled = speed.Compiled(self._pipe.model, spec.torch_compile)

    @property
    def accelerated(self) -> bool:
        """Whether the model, or a part of it, runs on something other than the CPU."""
        return is_accelerated(self._pipe)

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
            return Program(self._pipe, self.spec, parameters, self._compiled)
        from .cautious import CautiousProgram

        return CautiousProgram(self._pipe, self.spec, parameters, self._compiled)


def is_accelerated(pipe: Any) -> bool:
    """Whether a pipeline's model, or a part of it, runs on something other than the CPU."""
    places = getattr(pipe.model, "hf_device_map", {}).values()
    devices = {str(place) for place in places} - {"disk"} or {str(pipe.device)}
    return any(device.partition(":")[0] != "cpu" for device in devices)


def _nbytes(weight: torch.Tensor) -> int:
    """Bytes of a weight; of a quantized one, those of the tensors that it is made of."""
    if not hasattr(weight, "__tensor_flatten__"):
        return weight.nbytes
    names, _ = weight.__tensor_flatten__()
    return sum(_nbytes(getattr(weight, name)) for name in names)


def _slim(pipe: Any, names: frozenset[str]) -> None:
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


def _own(features: Features) -> Features:
    return copy.copy(features)

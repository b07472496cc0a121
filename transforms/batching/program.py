"""A model with the parameters of one stage: it places chunks, and answers batches of them."""

from __future__ import annotations

import contextlib
import copy
import itertools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ..engine import interface
from ..engine.errors import contained
from ..options.spec import ModelSpec
from ..pipelines.construction_lock import computing
from ..pipelines.custom import task_of
from ..pipelines.random_weights import Trial
from ..pipelines.split_call import Features, Outputs, deep_copy_kwargs, sanitized
from . import collate
from . import compiled as compiled_module
from .lengths import Lengths
from .padding import Padding, padding_of
from .pixels import Finish

logger = logging.getLogger(__name__)


_unique_keys = itertools.count()


class Program(interface.SynchronousProgram):
    """One model with the parameters of one stage: places chunks and answers batches of them."""

    def __init__(
        self,
        pipe: Any,
        spec: ModelSpec,
        parameters: Mapping[str, Any],
        compiled: compiled_module.Compiled | None = None,
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
            self._trial = Trial(pipe, weights, self._run_one, postprocess, spec.source)
        self._padding = padding_of(pipe, self._forward)
        self._finished = Finish(pipe)
        self._lengths = Lengths(pipe, task, self._forward, is_accelerated(pipe))

    def batch_slot(self, features: Features) -> interface.BatchSlot:
        """With which chunks this one may share a batch, and its length in tokens."""
        return collate.batch_slot(features, self._padding, next(_unique_keys))

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
            return [self._run_explained(chunks[0])]
        if not self._padding.can_batch:  # found out since they were placed
            return [self._run([chunk])[0] for chunk in chunks]
        try:
            return self._together(chunks)
        except collate.UnbatchError as error:
            logger.info("%s runs one at a time: %s", self._pipe.task, error)
            self._padding = Padding(None, can_batch=False)
            return [self._run([chunk])[0] for chunk in chunks]

    def _run_one(self, chunk: Features) -> Outputs:
        # The model may write into what it is given, and a failed batch is run again.
        return self._answered(_own(chunk))

    def _together(self, chunks: Sequence[Features]) -> list[Outputs]:
        rows = collate.shape_of(chunks, self._padding, self._token_outputs)
        batch = collate.collate(chunks, self._padding)
        return collate.uncollate(self._answered(batch), rows)

    def _run_explained(self, chunk: Features) -> Outputs:
        try:
            return self._run_one(chunk)
        except Exception as error:
            explained = self._lengths.explained(error, chunk)
            if explained is error:
                raise
            raise explained from error

    def _answered(self, features: Features) -> Outputs:
        with contained, self._lengths.guard(features):
            return self._pipe.forward(self._finished(features), **deep_copy_kwargs(self._forward))


def is_accelerated(pipe: Any) -> bool:
    """Whether a pipeline's model, or a part of it, runs on something other than the CPU."""
    places = getattr(pipe.model, "hf_device_map", {}).values()
    devices = {str(place) for place in places} - {"disk"} or {str(pipe.device)}
    return any(device.partition(":")[0] != "cpu" for device in devices)


def _own(features: Features) -> Features:
    return copy.copy(features)

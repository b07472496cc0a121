"""A model with the parameters of one stage: it places chunks, and answers batches of them."""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import logging
import sys
from collections.abc import Callable, Hashable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any

from ..engine import interface
from ..engine.blocks import Block, Row, layout_of, unpacked
from ..engine.errors import contained
from ..options.spec import ModelSpec
from ..pipelines.construction_lock import computing
from ..pipelines.custom import task_of
from ..pipelines.generation_control import GenerationControl
from ..pipelines.random_weights import Trial
from ..pipelines.requests import KEY, Request
from ..pipelines.split_call import Features, Outputs, deep_copy_kwargs, sanitized
from . import collate, rows
from . import compiled as compiled_module
from .device import Device
from .device_resize import Resize
from .lengths import Lengths
from .padding import Padding, padding_of, rows_may_leave
from .pixels import Finish
from .row_slots import RowSlots

logger = logging.getLogger(__name__)


class Program:
    """One model with the parameters of one stage: places chunks and answers batches of them."""

    takes_rows = True

    def __init__(
        self,
        pipe: Any,
        spec: ModelSpec,
        parameters: Mapping[str, Any],
        compiled: compiled_module.Compiled | None = None,
        device: Device | None = None,
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
        # A compiled model would be compiled again for each number of rows.
        leave = compiled is None and rows_may_leave(pipe)
        self._generation = GenerationControl(pipe, parameters, self._forward, rows_leave=leave)
        self._resized, self._finished = Resize(pipe), Finish(pipe)
        self._lengths = Lengths(pipe, task, self._forward, is_accelerated(pipe))
        self._slots = RowSlots(self._new_slot)
        self._device = device

    def batch_slot(self, features: Features) -> interface.BatchSlot:
        """With which chunks this one may share a batch, and its length in tokens."""
        return self.batch_slots([features])[0]

    def batch_slots(self, chunks: Sequence[Any]) -> list[interface.BatchSlot]:
        """Of each chunk: with which others it may share a batch, and its length in tokens."""
        slots: list[interface.BatchSlot] = []
        for block, group in itertools.groupby(chunks, _block_of):
            if block is None:
                slots += map(self._slots.of_chunk, group)
            else:
                slots += self._slots.of(block, [row.index for row in group])
        return slots

    def likely_refusal(self, chunk: Any) -> Exception | None:
        """What the model would say of a chunk that it takes for too long or too short.

        It is not asked: a model whose positions go beyond its table answers all the same.
        """
        asked = IndexError()
        found = self._lengths.explained(asked, unpacked(chunk))
        return None if found is asked else found

    def _new_slot(self, features: Features, unique_key: Hashable) -> interface.BatchSlot:
        slot = collate.batch_slot(self._resized.expected(features), self._padding, unique_key)
        if self._shares(features):
            return slot
        return interface.BatchSlot(unique_key, slot.length)

    def _shares(self, features: Features) -> bool:
        """Whether a chunk may share a batch, as far as that depends on what it asks for itself."""
        request = features.get(KEY) if isinstance(features, Mapping) else None
        if request is None:
            return True
        if "max_new_tokens" not in request.parameters:
            return self._generation.by_row
        # Where the length of a batch matters, it is counted with the limit that all have in common.
        any_length = self._padding.longest_padded == sys.maxsize and self._lengths.any_answer
        return self._generation.limits_by_row and any_length

    def launch(self, chunks: Sequence[Any]) -> interface.Launched:
        """Hand a batch to the device; on a CPU, compute it. What the model raises goes through."""
        with computing:
            if self._trial is not None:
                with contextlib.nullcontext() if self._compiled is None else self._compiled.eager():
                    self._trial.check(chunks)
            if self._compiled is None:
                return self._launch(chunks)
            return self._compiled.run(lambda: self._launch(chunks))

    def run(self, chunks: Sequence[Any]) -> list[Outputs]:
        """The outputs of each chunk. What the model raises goes through."""
        return list(map(unpacked, self.launch(chunks).outputs()))

    def _launch(self, chunks: Sequence[Any]) -> interface.Launched:
        if self._device is None or len(chunks) == 1 or not self._padding.can_batch:
            return interface.Computed(self._run(chunks))
        batch, shape = self._collated(chunks)
        forward = functools.partial(self._guarded, self._pipe._forward)
        launched = self._device.launch(batch, forward)

        def alone(chunk: Any) -> Outputs:
            return self.run([chunk])[0]

        return launched.then(lambda outputs: self._apart(chunks, outputs, shape, alone))

    def _run(self, chunks: Sequence[Any]) -> Iterable[Outputs]:
        if len(chunks) == 1:
            return [self._run_alone(chunks[0])]
        if not self._padding.can_batch:  # found out since they were placed
            return list(map(self._run_alone, chunks))
        batch, shape = self._collated(chunks)
        return self._apart(chunks, self._answered(batch), shape, self._run_alone)

    def _pad_as(self, padding: Padding) -> None:
        """Place and join chunks in another way from here on."""
        self._padding = padding
        self._slots.forget()

    def _apart(
        self,
        chunks: Sequence[Any],
        outputs: Outputs,
        shape: collate.BatchShape,
        alone: Callable[[Any], Outputs],
    ) -> Iterable[Outputs]:
        """The outputs of each chunk, given those of the batch; `alone` computes one by itself."""
        try:
            with computing:
                return rows.together(outputs, shape)
        except collate.UnbatchError as error:
            logger.info("%s runs one at a time: %s", self._pipe.task, error)
            self._pad_as(Padding(None, can_batch=False))
            return list(map(alone, chunks))

    def _collated(self, chunks: Sequence[Any]) -> tuple[Features, collate.BatchShape]:
        """One mapping of features for all chunks, and how its outputs come apart."""
        arguments = (self._padding, self._token_outputs)
        if all(type(chunk) is Row for chunk in chunks):
            # What is copied to a device is written into there alone.
            return rows.collate_rows(chunks, *arguments, in_place=self._device is not None)
        chunks = [unpacked(chunk) for chunk in chunks]
        layout = layout_of(chunks[0])
        if layout is not None:  # it is that of all: they have one batch key
            packed = Block.of(layout, chunks).rows()
            return rows.collate_rows(packed, *arguments, in_place=True)
        shape = collate.shape_of(chunks, *arguments)
        return collate.collate(chunks, self._padding), shape

    def _run_one(self, chunk: Features) -> Outputs:
        # The model may write into what it is given, and a failed batch is run again.
        return self._answered(_own(chunk))

    def _run_alone(self, chunk: Any) -> Outputs:
        chunk = unpacked(chunk)
        try:
            return self._run_one(chunk)
        except Exception as error:
            explained = self._lengths.explained(error, chunk)
            if explained is error:
                raise
            raise explained from error

    def _answered(self, features: Features) -> Outputs:
        return self._guarded(self._pipe.forward, features)

    def _guarded(self, forward: Callable[..., Outputs], features: Features) -> Outputs:
        """What the model answers, by a method of the pipeline that takes features to outputs."""
        asked = features.pop(KEY, None) if isinstance(features, MutableMapping) else None
        if asked is None:
            with self._generation.together():
                return self._computed(forward, features)
        requests = asked if isinstance(asked, list) else [asked]
        with self._generation.answering(requests) as answers:
            outputs = self._computed(forward, features, requests)
        found = answers(outputs)
        outputs[KEY] = found if isinstance(asked, list) else found[0]
        return outputs

    def _computed(
        self,
        forward: Callable[..., Outputs],
        features: Features,
        requests: Sequence[Request] = (),
    ) -> Outputs:
        with contained, self._lengths.guard(features, requests):
            features = self._finished(self._resized(features))
            return forward(features, **deep_copy_kwargs(self._forward))


def is_accelerated(pipe: Any) -> bool:
    """Whether a pipeline's model, or a part of it, runs on something other than the CPU."""
    places = getattr(pipe.model, "hf_device_map", {}).values()
    devices = {str(place) for place in places} - {"disk"} or {str(pipe.device)}
    return any(device.partition(":")[0] != "cpu" for device in devices)


def _block_of(chunk: Any) -> Block | None:
    return chunk.block if type(chunk) is Row else None


def _own(features: Features) -> Features:
    return copy.copy(features)

"""Batching of unknown pipeline classes: only after a batch has matched single runs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..engine.blocks import unpacked
from ..engine.errors import is_out_of_memory
from ..pipelines.agreement import agrees
from ..pipelines.split_call import Features, Outputs
from . import collate
from .program import Program

logger = logging.getLogger(__name__)

#: Chunks of the first batch that are run alone, too.
_SHOWN = 4


class VerifiedProgram(Program):
    """A program whose batches are run as such only if they answer as their chunks do alone.

    A class's `_forward` may do anything to a batch: take the first row for all, add rows up, or
    fail. What a few chunks of the first batch show is taken for all of them.
    """

    def __init__(self, pipe: Any, spec: Any, parameters: Mapping[str, Any], *more: Any) -> None:
        super().__init__(pipe, spec, parameters, *more)
        self._shown = False
        self._inherits = type(pipe)._forward.__module__.startswith("transformers.pipelines.")
        if not self._inherits or not self._padding.ends:
            # It is unknown what it makes of padding.
            self._padding = replace(self._padding, side=None, require_tensors=True)

    def _run(self, chunks: Sequence[Any]) -> Iterable[Outputs]:
        chunks = [unpacked(chunk) for chunk in chunks]
        if len(chunks) == 1 or not self._padding.can_batch or self._shown:
            return super()._run(chunks)
        alone = [self._run_alone(chunk) for chunk in chunks[:_SHOWN]]
        if all(agrees(alone[0], each) for each in alone):  # equal rows would show nothing
            return [*alone, *(self._run_alone(chunk) for chunk in chunks[_SHOWN:])]
        reason = self._difference(chunks[:_SHOWN], alone)
        if reason is None:
            self._shown = True
            return super()._run(chunks)
        logger.warning("%s runs one at a time: %s", type(self._pipe).__name__, reason)
        self._pad_as(replace(self._padding, can_batch=False))
        return [*alone, *(self._run_alone(chunk) for chunk in chunks[_SHOWN:])]

    def _difference(self, chunks: Sequence[Features], alone: list[Outputs]) -> str | None:
        """Why chunks with these outputs must run alone; None where they may share a batch."""
        try:
            with _watched(self._pipe.model) as generated:
                batch, shape = self._collated(chunks)
                together = collate.uncollate(self._answered(batch), shape)
        except collate.UnbatchError as error:
            return f"its outputs cannot be taken apart: {error}"
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return f"it fails for a batch: {error}"
        if generated and not self._inherits:
            return "it generates, and it is unknown where a row of its batch ends"
        if all(map(agrees, alone, together)):
            return None
        return "a batch does not answer as its chunks do alone"


@contextlib.contextmanager
def _watched(model: Any) -> Iterator[list[bool]]:
    """A list that is no longer empty once the model has generated."""
    generated: list[bool] = []
    if not hasattr(model, "generate"):
        yield generated
        return
    generate = model.generate
    own = vars(model).get("generate")

    def watched(*args: Any, **kwargs: Any) -> Any:
        generated.append(True)
        return generate(*args, **kwargs)

    model.generate = watched
    try:
        yield generated
    finally:
        del model.generate
        if own is not None:
            model.generate = own

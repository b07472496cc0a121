"""Another version of a model while a job runs: what is asked for, and what becomes of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..engine import registry
from ..engine.tickets import AnyEngine
from ..options.spec import ModelSpec, Spec
from . import engines

logger = logging.getLogger(__name__)


def model_of(update: Any) -> str | None:
    """The model that a side input names; None where it names none.

    Args:
      update: Beam's ModelMetadata, or its model_id alone: a model's id, directory or URI, or a
        .json or .safetensors file in it, as WatchFilePattern finds them.

    """
    name = update if isinstance(update, str) else getattr(update, "model_id", None)
    if not isinstance(name, str) or not name:
        return None
    return os.path.dirname(name) if name.endswith((".json", ".safetensors")) else name


def version(first: ModelSpec, model: str) -> ModelSpec:
    """A version of a job's first model: that one itself, with its revision, if it is asked for."""
    return first if model == first.source else replace(first, source=model, revision=None)


class ModelVersions:
    """The engine of a job's model, and of the version that is to follow it.

    The next one loads while this one answers; `due` says when it can take over. One that cannot
    be loaded is left out, and the log says why.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._first = spec.model
        self.engine: AnyEngine
        self.engine, self._release = _acquired(spec)
        self._asked = spec.model.source
        self._next: tuple[Spec, AnyEngine, Callable[[], None]] | None = None

    def ask(self, model: str | None) -> None:
        """Begin to load a version, if it is another than the last one asked for."""
        if model is None or model == self._asked:
            return
        self._asked = model
        self._drop()
        try:
            spec = replace(self.spec, model=version(self._first, model))
            self._next = (spec, *_acquired(spec))
        except Exception:
            logger.exception("the model stays %s: %s is none", self.spec.model.source, model)

    @property
    def due(self) -> bool:
        """Whether the next version can take over now."""
        if self._next is None:
            return False
        if self._next[1].dead:
            logger.error("the model stays %s: %s failed", self.spec.model.source, self._asked)
            self._drop()
            return False
        return self._next[1].ready

    def swap(self) -> None:
        """Let the next version take over. What was submitted to this one must be answered."""
        assert self._next is not None
        self._release()
        self.spec, self.engine, self._release = self._next
        self._next = None

    def revive(self) -> None:
        """Replace an engine that will answer nothing any more."""
        if self.engine.dead:
            self._release()
            self.engine, self._release = _acquired(self.spec)

    def close(self) -> None:
        """Give up the share in all engines."""
        self._drop()
        self._release()

    def _drop(self) -> None:
        if self._next is not None:
            self._next[2]()
            self._next = None


def _acquired(spec: Spec) -> tuple[AnyEngine, Callable[[], None]]:
    return registry.acquire(engines.engine_spec(spec))

"""Updates of a model while a job runs: which version is requested, and when it takes over."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..engine.tickets import AnyEngine
from ..options.late import import_libraries
from ..options.spec import ModelSpec, Spec

logger = logging.getLogger(__name__)


def requested_model(update: Any) -> str | None:
    """The model that a side input names; None if it names no model.

    Args:
      update: Beam's ModelMetadata, or its model_id alone: a model's id, directory or URI, or a
        .json or .safetensors file in it, as WatchFilePattern finds them.

    """
    name = update if isinstance(update, str) else getattr(update, "model_id", None)
    if not isinstance(name, str) or not name:
        return None
    return os.path.dirname(name) if name.endswith((".json", ".safetensors")) else name


def version_spec(first: ModelSpec, model: str) -> ModelSpec:
    """The spec of another version of a job's first model; of that one with its own revision."""
    return first if model == first.source else replace(first, source=model, revision=None)


class ModelVersions:
    """The engine of a job's model, and the engine of the version that follows it.

    The next version loads while this one answers; `due` says when it can take over. A version
    that cannot be loaded is skipped, and the log says why.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._first = spec.model
        self.engine: AnyEngine
        self.engine, self._release = _acquired(spec)
        self._requested = spec.model.source
        self._next: tuple[Spec, AnyEngine, Callable[[], None]] | None = None

    def request(self, model: str | None) -> None:
        """Begin to load a version, unless it is the last one requested."""
        if model is None or model == self._requested:
            return
        self._requested = model
        self._drop()
        try:
            spec = replace(self.spec, model=version_spec(self._first, model))
            self._next = (spec, *_acquired(spec))
        except Exception:
            source = self.spec.model.source
            logger.exception("keeping model %s: %s is not a model", source, model)

    @property
    def due(self) -> bool:
        """Whether the next version can take over now."""
        if self._next is None:
            return False
        if self._next[1].dead:
            source = self.spec.model.source
            logger.error("keeping model %s: %s failed to load", source, self._requested)
            self._drop()
            return False
        return self._next[1].ready

    def swap(self) -> None:
        """Let the next version take over. All tickets submitted to this one must be answered."""
        assert self._next is not None
        self._release()
        self.spec, self.engine, self._release = self._next
        self._next = None

    def revive(self) -> None:
        """Replace an engine that is dead."""
        if self.engine.dead:
            self._release()
            self.engine, self._release = _acquired(self.spec)

    def close(self) -> None:
        """Release all engines."""
        self._drop()
        self._release()

    def _drop(self) -> None:
        if self._next is not None:
            self._next[2]()
            self._next = None


def _acquired(spec: Spec) -> tuple[AnyEngine, Callable[[], None]]:
    import_libraries()
    from ..engine import registry
    from . import engines

    return registry.acquire(engines.engine_spec(spec))

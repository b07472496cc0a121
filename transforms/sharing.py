"""One engine per model in a process, used by all its bundles and gone with the last of them."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable

from .engine import Engine
from .replica import Replica
from .spec import Spec

_lock = threading.Lock()
_engines: dict[str, tuple[Engine, int]] = {}


def acquire(spec: Spec) -> tuple[Engine, Callable[[], None]]:
    """The process's engine for a model, and what to call, once, when it is no longer needed.

    The model loads in the engine's thread: this returns at once, and what is submitted meanwhile
    waits.
    """
    key = repr((spec.model.identity, spec.limits.batch_size, spec.limits.batch_tokens))
    with _lock:
        engine, users = _engines.get(key, (None, 0))
        if engine is None:
            engine = Engine(lambda: _load(spec), spec.limits, spec.model.model)
        _engines[key] = (engine, users + 1)
    return engine, functools.partial(_release, key)


def _load(spec: Spec) -> Replica:
    """The model, and all that was there before it kept out of the garbage collector's rounds.

    With a million objects of libraries to look at, each full round takes 0.3 s from all threads:
    about a tenth of what an element costs beside the model. Undone with the last engine.
    """
    replica = Replica(spec.model)
    gc.collect()
    gc.freeze()
    return replica


def running() -> int:
    """How many engines the process has."""
    return len(_engines)


def _release(key: str) -> None:
    with _lock:
        engine, users = _engines[key]
        if users > 1:
            _engines[key] = (engine, users - 1)
            return
        del _engines[key]
    engine.close()
    with _lock:
        if not _engines:
            gc.unfreeze()

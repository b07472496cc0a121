"""One engine per model in a process, used by all its bundles and gone with the last of them."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass

from .engine import Engine, Model
from .replica import Replica
from .spec import Limits, Spec

_lock = threading.Lock()
_shared: dict[str, _Share] = {}


@dataclass(eq=False)
class _Share:
    engine: Engine
    users: int = 0


def acquire(spec: Spec) -> tuple[Engine, Callable[[], None]]:
    """The process's engine for a model, and what to call, once, when it is no longer needed."""
    key = repr((spec.model.identity, spec.limits.batch_size, spec.limits.batch_tokens))
    return acquire_local(key, lambda: Replica(spec.model), spec.limits, spec.model.model)


def acquire_local(
    key: str, load: Callable[[], Model], limits: Limits, name: str
) -> tuple[Engine, Callable[[], None]]:
    """The process's engine of that key, and what to call, once, when it is no longer needed.

    The model loads in the engine's thread: this returns at once, and what is submitted meanwhile
    waits. An engine that failed is replaced: a bundle that is tried again has a chance.
    """
    with _lock:
        share = _shared.get(key)
        if share is None or share.engine.dead:
            share = _shared[key] = _Share(Engine(lambda: _frozen(load), limits, name))
        share.users += 1
    return share.engine, functools.partial(_release, key, share)


def _frozen(load: Callable[[], Model]) -> Model:
    """The model, and all that was there before it kept out of the garbage collector's rounds.

    With a million objects of libraries to look at, each full round takes 0.3 s from all threads:
    about a tenth of what an element costs beside the model. Undone with the last engine.
    """
    model = load()
    gc.collect()
    gc.freeze()
    return model


def running() -> int:
    """How many engines the process has."""
    return len(_shared)


def _release(key: str, share: _Share) -> None:
    with _lock:
        share.users -= 1
        if share.users:
            return
        if _shared.get(key) is share:
            del _shared[key]
    share.engine.close()
    with _lock:
        gc.unfreeze()
        gc.collect()  # the model's own cycles
        if _shared:
            gc.freeze()

"""One engine per model in a process, used by all its bundles and gone with the last of them."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass

from .engine import Engine
from .replica import Replica
from .spec import Spec

_lock = threading.Lock()
_shared: dict[str, _Share] = {}


@dataclass(eq=False)
class _Share:
    engine: Engine
    users: int = 0


def acquire(spec: Spec) -> tuple[Engine, Callable[[], None]]:
    """The process's engine for a model, and what to call, once, when it is no longer needed.

    The model loads in the engine's thread: this returns at once, and what is submitted meanwhile
    waits. An engine that failed is replaced: a bundle that is tried again has a chance.
    """
    limits = spec.limits
    key = repr((spec.model.identity, limits.batch_size, limits.batch_tokens, limits.max_wait_ms))
    with _lock:
        share = _shared.get(key)
        if share is None or share.engine.dead:
            engine = Engine(lambda: _load(spec), spec.limits, spec.model.model)
            share = _shared[key] = _Share(engine)
        share.users += 1
    return share.engine, functools.partial(_release, key, share)


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

"""The engine of the last `predict`, which stays for the next one: loading a model takes seconds."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

from transforms import TaskTransform

_lock = threading.Lock()
_release: Callable[[], None] | None = None
_key: str | None = None  # of the engine that is kept


@contextlib.contextmanager
def kept(task: TaskTransform) -> Iterator[None]:
    """Keep the engine of a task from now on, in place of the one that is kept."""
    from transforms.engine import registry
    from transforms.engine.process.launch import engine_key
    from transforms.stages.engines import engine_spec

    spec = engine_spec(task.plan.pinned.spec)
    key = engine_key(spec)
    if key != _key:
        release_model()  # before the other is loaded: there may be no memory for both
    engine, release = registry.acquire(spec)
    try:
        yield
    finally:
        if engine.dead:
            release()
        else:
            _swap(release, key)


def release_model() -> None:
    """Let the model of the last `predict` go, with the memory that it has."""
    _swap(None, None)


def _swap(release: Callable[[], None] | None, key: str | None) -> None:
    """Keep something else, and release what was kept."""
    global _release, _key
    with _lock:
        before, _release, _key = _release, release, key
    if before is not None:
        before()


def _forget() -> None:
    """In a forked child: the engine is the parent's."""
    global _lock, _release, _key
    _lock, _release, _key = threading.Lock(), None, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

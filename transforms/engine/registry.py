"""One engine per model: for all bundles of a process, or for all processes of a machine.

An engine is closed by its last user. One in a process of its own, which `process.launch` finds or
starts, ends after the last worker process that uses it, however that ended.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass

import torch

from .allocator import load_outside_gc
from .device_memory import device_memory
from .engine import Engine
from .errors import EngineError
from .interface import EngineSpec, Model
from .process.launch import connect, engine_key, folder
from .process.remote import RemoteEngine
from .process.replica_group import ReplicaGroup
from .tickets import AnyEngine

_lock = threading.Lock()
_shared: dict[str, _SharedEngine] = {}


@dataclass(eq=False)
class _SharedEngine:
    engine: Engine | RemoteEngine | ReplicaGroup
    users: int = 0


def acquire(spec: EngineSpec) -> tuple[AnyEngine, Callable[[], None]]:
    """An engine, and what to call, once, when it is no longer needed.

    The model loads meanwhile: this returns at once, and what is submitted waits. An engine that
    failed is replaced: a bundle that is tried again has a chance.
    """
    key = engine_key(spec)
    with _lock:
        entry = _shared.get(key)
        if entry is None or entry.engine.dead:
            entry = _shared[key] = _SharedEngine(_engine(spec))
        entry.users += 1
    return entry.engine, functools.partial(_release, key, entry)


def running() -> int:
    """How many engines the process has or uses."""
    return len(_shared)


def _release(key: str, entry: _SharedEngine) -> None:
    with _lock:
        entry.users -= 1
        if entry.users:
            return
        if _shared.get(key) is entry:
            del _shared[key]
    entry.engine.close()
    with _lock:
        gc.collect()  # the model's own cycles
        if not _shared:
            gc.unfreeze()


def _engine(spec: EngineSpec) -> Engine | RemoteEngine | ReplicaGroup:
    if not on_machine(spec):
        memory = device_memory(spec, folder)
        return Engine(lambda: _in_process(spec), spec.limits, spec.name, memory)
    remotes = [_remote(replica) for replica in _replicas(spec)]
    return remotes[0] if len(remotes) == 1 else ReplicaGroup(remotes)


def _in_process(spec: EngineSpec) -> Model:
    """The model, with this process's part of the cores.

    torch has one number of threads for all that computes in a process: it stays divided, for
    other code in a worker process, too.
    """
    processes = spec.sharing.processes or 1
    if processes > 1:
        torch.set_num_threads(max(1, _threads() // processes))
    model: Model = load_outside_gc(spec.load)
    return model


@functools.cache
def _threads() -> int:
    """How many threads torch computes with when nobody has divided them yet."""
    return torch.get_num_threads()


def _remote(spec: EngineSpec) -> RemoteEngine:
    return RemoteEngine(
        functools.partial(connect, spec),
        spec.sharing.key,
        spec.name,
        spec.sharing.timeout,
        spec.limits.window_bytes,
    )


def on_machine(spec: EngineSpec) -> bool:
    """Whether the engine runs in a process of its own.

    Where "auto" leaves it open: with several worker processes, which then share it; with a
    timeout, since only a process can be ended; and on an accelerator, whose errors break the
    process. There "process" means the same: between any two operations of a forward pass, other
    Python code of this process would take the interpreter, for milliseconds each time.
    """
    sharing = spec.sharing
    if os.name != "posix":
        if sharing.share == "machine" or sharing.timeout is not None:
            raise EngineError("an engine in a process of its own needs Linux or macOS")
        if sharing.max_device_memory is not None:
            raise EngineError("max_device_memory needs Linux or macOS")
        if spec.continuous:
            raise EngineError("an engine of this kind needs Linux or macOS")
        return False
    if spec.continuous:  # its library has settings of its own for a whole process
        return True
    if spec.accelerated and torch.accelerator.is_available():
        return True
    if sharing.share != "auto":
        return sharing.share == "machine"
    return sharing.processes != 1 or sharing.timeout is not None


def _replicas(spec: EngineSpec) -> list[EngineSpec]:
    """One for each accelerator, if none is named."""
    count = torch.cuda.device_count() if spec.replicated else 1
    if count < 2:
        return [spec]
    return [
        dataclasses.replace(
            spec,
            identity=f"{spec.identity} on {device}",
            device=device,
            load=functools.partial(spec.load, device=device),
        )
        for device in range(count)
    ]


def _forget() -> None:
    """In a forked child: the threads of the engines are not there, and links are the parent's."""
    global _lock  # noqa: PLW0603 - somebody may have held it
    _lock = threading.Lock()
    _shared.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

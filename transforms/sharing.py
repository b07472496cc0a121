"""One engine per model: for all bundles of a process, or for all processes of a machine.

An engine in a process of its own is found by a socket in a folder that is private to the user; the
socket's name comes from the model and from the job's key. Whoever comes first starts the process,
under a file lock; it goes when its last user has gone, however that ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import gc
import hashlib
import os
import pickle
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from .engine import Computes, Engine
from .remote import Fleet, RemoteEngine
from .replica import load
from .server import Settings
from .spec import Spec

_lock = threading.Lock()
_shared: dict[str, _Share] = {}
#: Processes that were started here: to be waited for when they end.
_started: list[subprocess.Popen[bytes]] = []


@dataclass(eq=False)
class _Share:
    engine: Engine | RemoteEngine | Fleet
    users: int = 0


def acquire(spec: Spec) -> tuple[Computes, Callable[[], None]]:
    """The engine for a model, and what to call, once, when it is no longer needed.

    The model loads meanwhile: this returns at once, and what is submitted waits. An engine that
    failed is replaced: a bundle that is tried again has a chance.
    """
    key = _identity(spec)
    with _lock:
        share = _shared.get(key)
        if share is None or share.engine.dead:
            share = _shared[key] = _Share(_engine(spec))
        share.users += 1
    return share.engine, functools.partial(_release, key, share)


def running() -> int:
    """How many engines the process has or uses."""
    return len(_shared)


def _identity(spec: Spec) -> str:
    return repr((spec.model.identity, spec.limits, spec.sharing))


def _release(key: str, share: _Share) -> None:
    with _lock:
        share.users -= 1
        if share.users:
            return
        if _shared.get(key) is share:
            del _shared[key]
    share.engine.close()
    for process in _started:
        process.poll()
    with _lock:
        gc.unfreeze()
        gc.collect()  # the model's own cycles
        if _shared:
            gc.freeze()


def _engine(spec: Spec) -> Engine | RemoteEngine | Fleet:
    name = spec.model.model
    if not on_machine(spec):
        return Engine(lambda: load(spec.model), spec.limits, name)
    remotes = [
        RemoteEngine(
            functools.partial(_connect, replica),
            spec.sharing.key,
            name,
            spec.sharing.timeout,
            spec.limits.window_bytes,
        )
        for replica in _replicas(spec)
    ]
    return remotes[0] if len(remotes) == 1 else Fleet(remotes)


def on_machine(spec: Spec) -> bool:
    """Whether the engine runs in a process of its own.

    Where "auto" leaves it open: with several worker processes, which then share it; with a
    timeout, since only a process can be ended; and on an accelerator, whose errors break the
    process, and whose feeding should not wait for this process's Python.
    """
    sharing = spec.sharing
    if sharing.share != "auto":
        return sharing.share == "machine"
    if os.name != "posix":
        return False
    return sharing.processes or sharing.timeout is not None or _accelerated(spec.model.device)


def _accelerated(device: int | str | None) -> bool:
    return device not in ("cpu", -1) and torch.accelerator.is_available()


def _replicas(spec: Spec) -> list[Spec]:
    """One for each accelerator, if none is named and the model fits on one."""
    count = torch.cuda.device_count()
    if spec.model.device is not None or count < 2:
        return [spec]
    return [
        dataclasses.replace(spec, model=dataclasses.replace(spec.model, device=device))
        for device in range(count)
    ]


# Finding the process, or starting it.


def folder() -> Path:
    """Where sockets and locks are: private to the user. Raises PermissionError if it is not."""
    path = Path(tempfile.gettempdir(), f"pipelines-beam-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{path} must be a directory that only you can enter (mode 0700): remove it"
        )
    return path


def _connect(spec: Spec) -> Connection:
    digest = hashlib.sha256(repr((_identity(spec), spec.sharing.key)).encode()).hexdigest()
    path = str(folder() / digest[:16])
    with _locked(f"{path}.lock"):
        link = socket.socket(socket.AF_UNIX)
        try:
            link.connect(f"{path}.socket")
        except (FileNotFoundError, ConnectionRefusedError):
            _start(spec, path)
            link.connect(f"{path}.socket")
    return Connection(link.detach())


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start(spec: Spec, path: str) -> None:
    """Start the process with a socket that can be connected to at once."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{path}.socket")  # of one that was killed
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{path}.socket")
        listener.listen(128)
        settings = Settings(spec, spec.sharing.key, listener.fileno(), path)
        process = subprocess.Popen(
            # -P: nothing is imported from the folder that this happens to run in.
            [sys.executable, "-P", "-m", "transforms.server"],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            pass_fds=[listener.fileno()],
            start_new_session=True,  # it outlives who started it
        )
    assert process.stdin is not None
    with process.stdin as pipe:
        pickle.dump(settings, pipe)
    _started.append(process)

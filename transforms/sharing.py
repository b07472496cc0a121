"""One engine per model: for all bundles of a process, or for all processes of a machine.

An engine in a process of its own is found by a socket in a folder that is private to the user; the
socket's name comes from the model and from the job's key. Whoever comes first starts the process,
under a file lock; it goes when its last user has gone, however that ended.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import os
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
from apache_beam.internal.cloudpickle import cloudpickle

from . import identity, replica, staging
from .engine import Engine, EngineSpec, Model, frozen
from .failures import EngineError
from .remote import Fleet, RemoteEngine
from .server import LOCK, Settings
from .spec import Spec, is_uri
from .tickets import Computes

_LONGEST = 50  # characters of a path: a socket's has 104 at most on some systems
_lock = threading.Lock()
_shared: dict[str, _Share] = {}


_PROGRAM = """
import logging
logging.disable(logging.WARNING)  # what libraries say while they are imported
from transforms.server import main
logging.disable(logging.NOTSET)
main()
"""


@dataclass(eq=False)
class _Share:
    engine: Engine | RemoteEngine | Fleet
    users: int = 0


def of(spec: Spec) -> EngineSpec:
    """The engine of a task's model."""
    device, placed = spec.model.device, spec.model.device_map is not None
    sources = (spec.model.model, spec.model.tokenizer, spec.model.processor)
    stored = [staging.version(each) for each in sources if each is not None and is_uri(each)]
    return EngineSpec(
        identity=identity.digest((spec.model.identity, stored, spec.limits)),
        name=spec.model.model,
        load=functools.partial(replica.Replica, spec.model),
        limits=spec.limits,
        sharing=spec.sharing,
        accelerated=placed or device not in ("cpu", -1),
        replicated=device is None and not placed,
    )


def acquire(spec: EngineSpec) -> tuple[Computes, Callable[[], None]]:
    """An engine, and what to call, once, when it is no longer needed.

    The model loads meanwhile: this returns at once, and what is submitted waits. An engine that
    failed is replaced: a bundle that is tried again has a chance.
    """
    key = _key(spec)
    with _lock:
        share = _shared.get(key)
        if share is None or share.engine.dead:
            share = _shared[key] = _Share(_engine(spec))
        share.users += 1
    return share.engine, functools.partial(_release, key, share)


def _key(spec: EngineSpec) -> str:
    """The same for engines that may stand in for each other, and are shared in the same way."""
    return identity.digest((spec.identity, spec.sharing))


def running() -> int:
    """How many engines the process has or uses."""
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
        gc.collect()  # the model's own cycles
        if not _shared:
            gc.unfreeze()


def _engine(spec: EngineSpec) -> Engine | RemoteEngine | Fleet:
    if not on_machine(spec):
        return Engine(lambda: _in_process(spec), spec.limits, spec.name)
    remotes = [_remote(replica) for replica in _replicas(spec)]
    return remotes[0] if len(remotes) == 1 else Fleet(remotes)


def _in_process(spec: EngineSpec) -> Model:
    """The model, with this process's part of the cores.

    torch has one number of threads for all that computes in a process: it stays divided, for
    other code in a worker process, too.
    """
    processes = spec.sharing.processes or 1
    if processes > 1:
        torch.set_num_threads(max(1, _threads() // processes))
    return frozen(spec.load)


@functools.cache
def _threads() -> int:
    """How many threads torch computes with when nobody has divided them yet."""
    return torch.get_num_threads()


def _remote(spec: EngineSpec) -> RemoteEngine:
    return RemoteEngine(
        functools.partial(_connect, spec),
        spec.sharing.key,
        spec.name,
        spec.sharing.timeout,
        spec.limits.window_bytes,
    )


def on_machine(spec: EngineSpec) -> bool:
    """Whether the engine runs in a process of its own.

    Where "auto" leaves it open: with several worker processes, which then share it; with a
    timeout, since only a process can be ended; and on an accelerator, whose errors break the
    process, and whose feeding should not wait for this process's Python.
    """
    sharing = spec.sharing
    if os.name != "posix":
        if sharing.share == "machine" or sharing.timeout is not None:
            raise EngineError("an engine in a process of its own needs Linux or macOS")
        return False
    if sharing.share != "auto":
        return sharing.share == "machine"
    accelerated = spec.accelerated and torch.accelerator.is_available()
    return sharing.processes != 1 or sharing.timeout is not None or accelerated


def _replicas(spec: EngineSpec) -> list[EngineSpec]:
    """One for each accelerator, if none is named."""
    count = torch.cuda.device_count() if spec.replicated else 1
    if count < 2:
        return [spec]
    return [
        dataclasses.replace(
            spec,
            identity=f"{spec.identity} on {device}",
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


# Finding the process, or starting it.


def folder() -> Path:
    """Where sockets and locks are: private to the user. Raises PermissionError if it is not."""
    parent = tempfile.gettempdir()
    if len(parent) > _LONGEST:
        parent = "/tmp"  # noqa: S108 - what is in it is checked below
    path = Path(parent, f"pipelines-beam-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{path} must be a directory that only you can enter (mode 0700): remove it"
        )
    return path


def _connect(spec: EngineSpec) -> Connection:
    path = folder() / f"{_key(spec)[:16]}.socket"
    with _locked(path.parent / LOCK), socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            _sweep(path.parent)
            _start(spec, str(path))
            link.connect(str(path))
        return Connection(link.detach())


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sweep(directory: Path) -> None:
    """Remove the sockets of processes that were killed."""
    for path in directory.glob("*.socket"):
        with socket.socket(socket.AF_UNIX) as link:
            try:
                link.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()


def _start(spec: EngineSpec, path: str) -> None:
    """Start the process with a socket that can be connected to at once."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(128)
        settings = cloudpickle.dumps(Settings(spec, listener.fileno(), path))
        process = subprocess.Popen(  # noqa: S603 - our own program
            # -P: nothing is imported from the folder that this happens to run in.
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            pass_fds=[listener.fileno()],
            start_new_session=True,  # it outlives who started it
        )
    process.returncode = 0  # it may outlive this process: not Popen's business any more
    threading.Thread(target=os.waitpid, args=(process.pid, 0), daemon=True).start()
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(settings)

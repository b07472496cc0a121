"""Finding the process that holds an engine, or starting it.

It is found by a socket in a folder that is private to the user; the socket's name comes from the
model and from the job's key. The first worker starts the process, under a file lock.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...options import content_hash
from ..interface import EngineSpec

#: The file beside the sockets that is locked to start, join or end such a process.
LOCK = "lock"
_LONGEST = 50  # characters of a path: a socket's has 104 at most on some systems


_PROGRAM = """
import gc
import logging
gc.disable()  # a million objects come, and none go
logging.disable(logging.WARNING)  # what libraries say while they are imported
from transforms.engine.process.server import main
logging.disable(logging.NOTSET)
gc.enable()
main()
"""


@dataclass(frozen=True)
class ServerConfig:
    """What the process is told when it starts."""

    spec: EngineSpec
    #: The file descriptor of the socket to listen on.
    listener: int
    #: The path of that socket.
    path: str


def engine_key(spec: EngineSpec) -> str:
    """Equal for engines that may replace each other and are shared in the same way."""
    return content_hash.digest((spec.identity, spec.sharing))


def folder() -> Path:
    """Where sockets and locks are: private to the user. Raises PermissionError if it is not."""
    parent = tempfile.gettempdir()
    if len(parent) > _LONGEST:
        parent = "/tmp"  # noqa: S108 - what is in it is checked below
    path = Path(parent, f"pipelines-beam-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(
            f"{path} must be a directory that only you can enter (mode 0700): remove it"
        )
    return path


def connect(spec: EngineSpec) -> socket.socket:
    """A connection to the process that holds the engine, which is started if there is none."""
    path = folder() / f"{engine_key(spec)[:16]}.socket"
    link = socket.socket(socket.AF_UNIX)
    try:
        with _locked(path.parent / LOCK):
            try:
                link.connect(str(path))
            except (FileNotFoundError, ConnectionRefusedError):
                _sweep(path.parent)
                _start(spec, str(path))
                link.connect(str(path))
    except BaseException:
        link.close()
        raise
    return link


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
    from apache_beam.internal.cloudpickle import cloudpickle

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(128)
        config = cloudpickle.dumps(ServerConfig(spec, listener.fileno(), path))
        process = subprocess.Popen(  # noqa: S603 - our own program
            # -P: nothing is imported from the folder that this happens to run in.
            [sys.executable, "-P", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=2,  # it outlives the job: who reads what the job prints would wait for its end
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # nobody sees them there
            },
            pass_fds=[listener.fileno()],
            start_new_session=True,  # it outlives the process that started it
        )
    process.returncode = 0  # it may outlive this process: not Popen's business any more
    threading.Thread(target=os.waitpid, args=(process.pid, 0), daemon=True).start()
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(config)

"""Engines in processes of their own: made, asked, and seen from outside."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from apache_beam.internal.cloudpickle import cloudpickle

from support.commands import processes
from support.troubled import Troubled
from transforms.engine import registry
from transforms.engine.interface import EngineSpec
from transforms.engine.process import launch, server
from transforms.engine.process.remote import RemoteEngine
from transforms.engine.process.replica_group import ReplicaGroup
from transforms.engine.tickets import BundleSession, Ticket
from transforms.options.spec import Limits, Sharing

#: How an engine's process is started outside tests.
start = launch._start


def forked() -> contextlib.AbstractContextManager[Any]:
    """Within it, this process has engines' processes forked: they need not import the libraries."""
    return mock.patch.object(launch, "_start", _fork)


def _fork(of: EngineSpec, path: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(128)
        given = (cloudpickle.dumps(of), listener, path, dict(os.environ), sys.path)
        processes().Process(target=_serve, args=given, daemon=True).start()


def _serve(
    of: bytes, listener: socket.socket, path: str, environment: dict[str, str], imports: list[str]
) -> None:
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:] = imports
    server.serve(launch.ServerConfig(pickle.loads(of), listener.detach(), path))


def spec(load: Callable[[], Any] = Troubled, **sharing_options: Any) -> EngineSpec:
    return EngineSpec(
        identity=f"{load} {time.time()}",
        name="test",
        load=load,
        limits=Limits(batch_size=16),
        sharing=Sharing(**{"share": "machine", **sharing_options}),
    )


def remote(of: EngineSpec) -> RemoteEngine:
    return registry._remote(of)


@contextlib.contextmanager
def remotes() -> Iterator[Callable[[EngineSpec], RemoteEngine]]:
    """What makes engines; they are closed at the end."""
    engines: list[RemoteEngine] = []

    def make(of: EngineSpec) -> RemoteEngine:
        engines.append(remote(of))
        return engines[-1]

    yield make
    for each in engines:
        each.close()


def ask(engine: RemoteEngine | ReplicaGroup, numbers: list[int]) -> list[Ticket]:
    session = engine.session({})
    for number in numbers:
        session.submit(number, [number])
    return collect(session, len(numbers))


def collect(session: BundleSession, count: int) -> list[Ticket]:
    return [session.answered.get(timeout=240) for _ in range(count)]


def right(tickets: list[Ticket]) -> bool:
    return all(ticket.outputs[0][0] == 2 * ticket.token for ticket in tickets)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pid: int, seconds: float = 30) -> bool:
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.1)
    return not alive(pid)


class Watch:
    """The engines' processes that a job has, seen from outside: not forked ones."""

    def __init__(self) -> None:
        self.name = f"watched-{random.random()}"
        self.seen: set[int] = set()
        self.most = 0
        self._unforked = mock.patch.object(launch, "_start", start)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        os.environ["WATCHED"] = self.name
        self._unforked.start()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()
        self._unforked.stop()
        del os.environ["WATCHED"]

    def now(self) -> list[int]:
        """Their process ids."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                ours = self.name.encode() in (path / "environ").read_bytes()
                if ours and b"transforms.engine.process.server" in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
            except OSError:  # it has gone
                continue
        return found

    def _look(self) -> None:
        while not self._done.wait(0.1):
            pids = self.now()
            self.most = max(self.most, len(pids))
            self.seen.update(pids)

"""The process that holds an engine: who is let in, who is dropped, and when it ends."""

from __future__ import annotations

import functools
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from support.engine_processes import alive, ask, gone, right, spec
from support.paths import ROOT, TESTS

from transforms.engine.core import EngineCore
from transforms.engine.errors import EngineError
from transforms.engine.process import launch, server
from transforms.engine.process.client import Client
from transforms.engine.process.protocol import OpenSession
from transforms.engine.process.remote import RemoteEngine
from transforms.engine.tickets import Parameters
from transforms.options.spec import Limits


def test_workers_share_one_process_and_it_goes_with_the_last(
    engine: Callable[..., RemoteEngine],
) -> None:
    same = spec()
    one, other = engine(same), engine(same)
    tickets = [*ask(one, list(range(100))), *ask(other, list(range(100)))]
    assert right(tickets)
    (pid,) = {ticket.outputs[0][1] for ticket in tickets}
    assert pid not in (os.getpid(), 0)
    assert pid == one.pid == other.pid
    one.close()
    assert right(ask(other, [1, 2, 3]))
    other.close()
    assert gone(pid)


def test_a_wait_for_more_tickets_ends_in_time_however_short_the_slices_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps: list[float] = []
    now = 100.0

    def receive(seconds: float) -> bool:  # something comes again and again
        nonlocal now
        now += min(seconds, 0.004)
        return seconds > 0

    monkeypatch.setattr(time, "monotonic", lambda: now)
    serving = server.Server.__new__(server.Server)
    serving._until = None
    serving._receive = receive  # type: ignore[method-assign]
    serving.core = SimpleNamespace(  # type: ignore[assignment]
        dead=False, wait_seconds=lambda: 0.05, step=lambda: steps.append(now)
    )
    while now < 100.2:
        serving._serve(now + 0.02)
    assert steps == pytest.approx([100.05, 100.1, 100.15, 100.2], abs=0.01)


@pytest.mark.slow
def test_a_killed_worker_leaves_no_process_behind() -> None:
    script = (
        f"import sys, time; sys.path.insert(0, {str(TESTS)!r})\n"
        "from support.engine_processes import ask, remote, spec\n"
        "engine = remote(spec())\n"
        "print(ask(engine, [1])[0].outputs[0][1], flush=True)\n"
        "time.sleep(600)\n"
    )
    worker = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", script],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert worker.stdout is not None
    with worker, worker.stdout as output:
        pid = int(output.readline())
        assert alive(pid)
        worker.kill()
    assert gone(pid)


@pytest.mark.slow
def test_a_stranger_is_turned_away(engine: Callable[..., RemoteEngine]) -> None:
    ours = spec()
    found = engine(ours)
    assert right(ask(found, [1]))
    stranger = RemoteEngine(
        functools.partial(launch.connect, ours), b"guess", "stranger", None, 1 << 20
    )
    (ticket,) = ask(stranger, [1])
    assert isinstance(ticket.error, EngineError)
    stranger.close()
    assert right(ask(found, [2]))


@pytest.mark.slow
def test_a_worker_that_stands_still_does_not_stop_the_others(
    engine: Callable[..., RemoteEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    same, over = spec(), threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(RemoteEngine, "_listen", lambda self: over.wait())
        still = engine(same)
        session = still.session({})
        for number in range(4_000):  # answers that no socket holds
            session.submit(number, [number])
    other = engine(same)
    try:
        assert right(ask(other, list(range(100))))
    finally:
        over.set()


def test_functions_among_parameters_share_batches_and_programs() -> None:
    here, there = socket.socketpair()
    connection = Client(here, b"key", EngineCore(Limits(), lambda ticket: None))
    parameters = Parameters({"stop": lambda text: text == "."})
    # As another worker has them.
    equal = Parameters(pickle.loads(parameters.pickled))
    other = Parameters({"stop": lambda text: text == "!"})
    for number, each in enumerate([parameters, equal, other]):
        connection._accept(OpenSession(number, each.key, each.pickled))
    keys = [connection._sessions[number].key for number in range(3)]
    assert keys[0] == keys[1] != keys[2]
    connection.close()
    there.close()

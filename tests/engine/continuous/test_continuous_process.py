"""An engine without batches in a process of its own, which dies while it computes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import pytest
from support import engine_processes
from support.engine_processes import ask, collect, right

from transforms.engine.errors import EngineCrashError
from transforms.engine.interface import EngineSpec
from transforms.engine.process.remote import RemoteEngine

KILLER, HANGER, LONG = 13, 14, 1000


class Slow:
    """A model that takes as many steps for a number as its last digit says, and many for LONG.

    Two numbers end it.
    """

    nbytes = 8
    capacity = 4

    def __init__(self) -> None:
        self._left: dict[int, list[int]] = {}

    def program(self, parameters: Any) -> Slow:
        return self

    def length(self, chunk: int) -> int:
        return 1

    def submit(self, number: int, chunk: int) -> None:
        self._left[number] = [400 if chunk == LONG else chunk % 10, chunk]

    def step(self) -> Sequence[tuple[int, Any]]:
        chunks = [chunk for _, chunk in self._left.values()]
        time.sleep(60 if HANGER in chunks else 0.002)
        if KILLER in chunks:
            os._exit(1)
        found: list[tuple[int, Any]] = []
        for number, state in tuple(self._left.items()):
            state[0] -= 1
            if state[0] <= 0:
                found.append((number, [2 * self._left.pop(number)[1]]))
        return found

    def cancel(self, numbers: Collection[int]) -> None:
        for number in numbers:
            self._left.pop(number)


@pytest.fixture
def spec() -> EngineSpec:
    return replace(engine_processes.spec(Slow), continuous=True)


Make = Callable[[EngineSpec], RemoteEngine]


def test_workers_share_it(engine: Make, spec: EngineSpec) -> None:
    first, second = engine(spec), engine(spec)
    assert right(ask(first, list(range(20, 60))))
    assert right(ask(second, list(range(20, 40))))
    assert first.pid == second.pid


def test_one_that_breaks_it_fails_and_no_other(engine: Make, spec: EngineSpec) -> None:
    tickets = ask(engine(spec), [*range(1, HANGER), *range(20, 66)])
    failed = {ticket.token: ticket.error for ticket in tickets if ticket.error is not None}
    assert list(failed) == [KILLER]
    assert isinstance(failed[KILLER], EngineCrashError)
    assert right([ticket for ticket in tickets if ticket.error is None])
    assert len(tickets) == 59


def test_after_kill_9_each_is_answered_once(engine: Make, spec: EngineSpec) -> None:
    remote = engine(spec)
    session = remote.session({})
    numbers = list(range(20, 140))
    for number in numbers:
        session.submit(number, [number])
    session.flush()
    tickets = collect(session, 10)
    os.kill(remote.pid, signal.SIGKILL)
    tickets += collect(session, len(numbers) - 10)
    assert sorted(ticket.token for ticket in tickets) == numbers
    assert right(tickets)
    assert 0 < sum(ticket.attempts == 2 for ticket in tickets) <= Slow.capacity + 1
    assert session.answered.empty()


def test_a_step_that_hangs_is_ended(engine: Make) -> None:
    hanging = replace(engine_processes.spec(Slow, timeout=0.5), continuous=True)
    (ticket,) = ask(engine(hanging), [HANGER])
    assert type(ticket.error).__name__ == "BatchTimeoutError"


def test_a_timeout_is_that_of_a_step(engine: Make) -> None:
    """Steps go on for longer than one may take."""
    patient = replace(engine_processes.spec(Slow, timeout=0.5), continuous=True)
    (ticket,) = ask(engine(patient), [LONG])
    assert right([ticket])
    assert ticket.attempts == 1

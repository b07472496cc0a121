"""Tickets that are kept until they are answered, whatever becomes of the process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from transforms.engine.errors import BatchTimeoutError, EngineCrashError, EngineError
from transforms.engine.process.arena import Arena
from transforms.engine.process.in_flight import InFlightTickets
from transforms.engine.tickets import BundleSession, Ticket

ROOM = 1 << 20


class Kept:
    """Tickets in flight, of sessions of an engine that does nothing."""

    def __init__(self) -> None:
        engine: Any = SimpleNamespace(forget=lambda session: None)
        self.session = BundleSession(engine, {}, "")
        self.arena = Arena(ROOM)
        self.tickets = InFlightTickets(self.arena)

    def add(self, session: BundleSession | None = None) -> Ticket:
        ticket = Ticket(session or self.session, "token", [torch.zeros(10_000)])
        self.tickets.add(ticket)
        return ticket

    def nothing_left(self) -> bool:
        return not len(self.tickets) and self.arena._spans.take(ROOM) == 0


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_features_are_kept_pickled_until_the_answer(kept: Kept) -> None:
    ticket = kept.add()
    assert ticket.features == []
    ((number, sent),) = kept.tickets
    assert len(sent.spans) == 1
    assert kept.tickets.pop(number) is ticket
    assert kept.nothing_left()


def test_what_was_computed_when_a_process_died_is_isolated(kept: Kept) -> None:
    computed, waiting = kept.add(), kept.add()
    kept.tickets.begin([0, 17])
    kept.tickets.process_died(None, "it crashed")
    assert (computed.run_isolated, computed.attempts) == (True, 2)
    assert (waiting.run_isolated, waiting.attempts) == (False, 1)
    assert len(kept.tickets) == 2


def test_an_element_over_which_three_processes_die_fails(kept: Kept) -> None:
    ticket = kept.add()
    for deaths in range(1, 4):
        assert kept.session.answered.empty()
        kept.tickets.begin([0])
        kept.tickets.process_died(None, "it crashed")
        assert ticket.attempts == min(deaths + 1, 3)
    assert kept.session.answered.get() is ticket
    assert isinstance(ticket.error, EngineCrashError)
    assert str(ticket.error) == "the engine's process died over this element: it crashed"
    assert kept.nothing_left()


def test_a_process_that_dies_between_batches_is_nobodys_fault(kept: Kept) -> None:
    ticket = kept.add()
    for _ in range(10):
        kept.tickets.begin([0])
        kept.tickets.begin([])
        kept.tickets.process_died(None, "it was killed")
    assert (ticket.run_isolated, ticket.attempts, ticket.error) == (False, 1, None)


def test_an_element_that_takes_too_long_twice_fails(kept: Kept) -> None:
    ticket = kept.add()
    for _ in range(2):
        assert ticket.error is None
        kept.tickets.begin([0])
        kept.tickets.process_died(2.5, "it was killed")
    assert isinstance(ticket.error, BatchTimeoutError)
    assert "2.5 s" in str(ticket.error)
    assert ticket.attempts == 2
    assert kept.nothing_left()


def test_only_a_batch_that_is_computed_has_a_time(kept: Kept) -> None:
    kept.add()
    assert kept.tickets.seconds_left(60) is None
    kept.tickets.begin([0])
    left = kept.tickets.seconds_left(60)
    assert left is not None
    assert 50 < left <= 60
    assert kept.tickets.seconds_left(0) == 0
    kept.tickets.pop(0)
    assert kept.tickets.seconds_left(60) is None


def test_cancelled_tickets_are_dropped(kept: Kept) -> None:
    other = BundleSession(kept.session.engine, {}, "")
    cancelled, ticket = kept.add(other), kept.add()
    other.cancel()
    kept.tickets.drop_cancelled()
    assert [sent.ticket for _, sent in kept.tickets] == [ticket]
    assert cancelled.error is None
    kept.tickets.pop(1)
    assert kept.nothing_left()


def test_all_fail_with_the_reason(kept: Kept) -> None:
    tickets = [kept.add() for _ in range(3)]
    kept.tickets.fail_all("no memory")
    assert [kept.session.answered.get() for _ in range(3)] == tickets
    assert all(isinstance(t.error, EngineError) and str(t.error) == "no memory" for t in tickets)
    assert len(kept.tickets) == 0

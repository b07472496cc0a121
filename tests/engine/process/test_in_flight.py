"""Tickets that are kept until they are answered, whatever becomes of the process."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from transforms.engine.errors import BatchTimeoutError, EngineCrashError
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
        self.tickets.add([ticket])
        return ticket

    def nothing_left(self) -> bool:
        return not len(self.tickets) and self.arena._spans.take(ROOM) == 0


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_features_are_kept_pickled_until_the_answer(kept: Kept) -> None:
    ticket = kept.add()
    assert ticket.features == []
    (message,) = kept.tickets.messages([0], 5)
    assert (message.tickets, message.session, message.run_isolated) == ([(0, 0, 1)], 5, False)
    assert len(message.spans) == 1
    assert kept.tickets.pop(0) is ticket
    assert kept.nothing_left()


def texts(kept: Kept, *lengths: int) -> list[Ticket]:
    """Tickets with two chunks of these lengths each."""

    def chunk(length: int) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.full((1, length), length), "mask": torch.ones(1, length)}

    return [Ticket(kept.session, length, [chunk(length)] * 2) for length in lengths]


def test_features_that_are_alike_cross_together(kept: Kept) -> None:
    assert kept.tickets.add([*texts(kept, 3, 5), Ticket(kept.session, 0, ["odd"])]) == [0, 1, 2]
    together, apart = kept.tickets.messages([0, 1, 2], 5)
    assert (together.tickets, apart.tickets) == ([(0, 0, 2), (1, 2, 2)], [(2, 0, 1)])
    assert together.features is not None
    block = pickle.loads(together.features)
    assert [row.features()["input_ids"].tolist() for row in block.rows()] == [
        [[3] * 3],
        [[3] * 3],
        [[5] * 5],
        [[5] * 5],
    ]


def test_of_those_that_cross_together_the_rest_is_sent_again(kept: Kept) -> None:
    kept.tickets.add(texts(kept, 500, 600, 700))
    kept.tickets.pop(1)
    kept.tickets.launched(1, [0], [])
    assert not kept.tickets.process_died(None, "it crashed")
    (numbers,) = kept.tickets.by_session().values()
    isolated, rest = kept.tickets.messages(numbers, 5)
    assert (isolated.tickets, isolated.run_isolated) == ([(0, 0, 2)], True)
    assert (rest.tickets, rest.run_isolated) == ([(2, 4, 2)], False)
    assert isolated.spans == rest.spans
    kept.tickets.pop(0)
    assert not kept.nothing_left()
    kept.tickets.pop(2)
    assert kept.nothing_left()


@pytest.mark.parametrize("timeout", [None, 2.5])
def test_the_batch_behind_may_be_to_blame(kept: Kept, timeout: float | None) -> None:
    first, behind = kept.add(), kept.add()
    kept.tickets.launched(1, [0], [1])
    kept.tickets.process_died(timeout, "it ended")
    assert (first.run_isolated, behind.run_isolated) == (True, True)


def test_what_cannot_cross_together_fails_alone(kept: Kept) -> None:
    class Local(dict[str, Any]):
        """Pickled by its name in this function: nobody finds it there."""

    bad = Ticket(kept.session, "bad", [Local(ids=torch.ones(1, 3)), lambda: 0])
    good = texts(kept, 3)
    assert kept.tickets.add([bad, *good]) == [0]
    assert kept.session.answered.get_nowait() is bad
    assert bad.error is not None
    assert kept.tickets.pop(0) is good[0]
    assert kept.nothing_left()


def test_a_batch_has_its_own_time_from_when_the_one_before_has_ended(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    kept.add(), kept.add()
    kept.tickets.launched(1, [0], [])
    now = 110.0
    kept.tickets.launched(1, [0], [1])
    assert kept.tickets.seconds_left(60) == 50
    kept.tickets.pop(0)
    kept.tickets.launched(2, [1], [])
    assert kept.tickets.seconds_left(60) == 60
    now = 120.0
    kept.tickets.launched(3, [1], [])  # another chunk of the same ticket
    assert kept.tickets.seconds_left(60) == 60
    now = 130.0
    kept.tickets.process_died(None, "it crashed")
    kept.tickets.launched(3, [1], [])  # of the next process
    assert kept.tickets.seconds_left(60) == 60


def test_what_was_computed_when_a_process_died_is_isolated(kept: Kept) -> None:
    computed, waiting = kept.add(), kept.add()
    kept.tickets.launched(1, [0, 17], [])
    kept.tickets.process_died(None, "it crashed")
    assert (computed.run_isolated, computed.attempts) == (True, 2)
    assert (waiting.run_isolated, waiting.attempts) == (False, 1)
    assert len(kept.tickets) == 2


def test_an_element_over_which_three_processes_die_fails(kept: Kept) -> None:
    ticket = kept.add()
    for deaths in range(1, 4):
        kept.tickets.launched(1, [0], [])
        given_up = kept.tickets.process_died(None, "it crashed")
        assert given_up == ([ticket] if deaths == 3 else [])
        assert ticket.attempts == min(deaths + 1, 3)
    assert isinstance(ticket.error, EngineCrashError)
    assert str(ticket.error) == "the engine's process died over this element: it crashed"
    assert kept.nothing_left()


def test_a_process_that_dies_between_batches_is_nobodys_fault(kept: Kept) -> None:
    ticket = kept.add()
    for _ in range(10):
        kept.tickets.launched(1, [0], [])
        kept.tickets.launched(1, [], [])
        kept.tickets.process_died(None, "it was killed")
    assert (ticket.run_isolated, ticket.attempts, ticket.error) == (False, 1, None)


def test_an_element_that_takes_too_long_twice_fails(kept: Kept) -> None:
    ticket = kept.add()
    for _ in range(2):
        assert ticket.error is None
        kept.tickets.launched(1, [0], [])
        kept.tickets.process_died(2.5, "it was killed")
    assert isinstance(ticket.error, BatchTimeoutError)
    assert "2.5 s" in str(ticket.error)
    assert ticket.attempts == 2
    assert kept.nothing_left()


def test_only_a_batch_that_is_computed_has_a_time(kept: Kept) -> None:
    kept.add()
    assert kept.tickets.seconds_left(60) is None
    kept.tickets.launched(1, [0], [])
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
    assert cancelled.error is None
    assert kept.tickets.pop(1) is ticket
    assert kept.nothing_left()


def test_all_are_given_up(kept: Kept) -> None:
    tickets = [kept.add() for _ in range(3)]
    assert kept.tickets.pop_all() == tickets
    assert kept.nothing_left()

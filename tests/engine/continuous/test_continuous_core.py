"""An engine without batches, step by step, with a model that finishes what it is told to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import pytest

from transforms.engine.continuous.core import ContinuousCore
from transforms.engine.errors import EngineError
from transforms.engine.reports import BatchReport, LoadReport
from transforms.engine.tickets import BundleSession, Ticket


class Steps:
    """A model that counts each number down, a step at a time, and answers twice the number."""

    nbytes = 8

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        #: Of each chunk by its number: the steps that are left, and the answer.
        self.left: dict[int, list[int]] = {}
        self.most = 0
        self.cancelled: list[int] = []
        self.error: Exception | None = None
        self.failures: dict[int, Exception] = {}

    def program(self, parameters: Any) -> Steps:
        if "wrong" in parameters:
            raise ValueError("wrong parameters")
        return self

    def length(self, chunk: int) -> int:
        return chunk

    def submit(self, number: int, chunk: int) -> None:
        if chunk < 0:
            raise ValueError("too long")
        self.left[number] = [chunk, 2 * chunk]
        self.most = max(self.most, len(self.left))

    def step(self) -> Sequence[tuple[int, Any]]:
        if self.error is not None:
            raise self.error
        found: list[tuple[int, Any]] = []
        for number, state in tuple(self.left.items()):
            state[0] -= 1
            if state[0] <= 0:
                del self.left[number]
                found.append((number, self.failures.get(state[1], state[1])))
        return found

    def cancel(self, numbers: Collection[int]) -> None:
        self.cancelled += numbers
        for number in numbers:
            del self.left[number]


class Bench:
    """A core with such a model, and what it hands back and announces."""

    def __init__(self, capacity: int = 8) -> None:
        self.back: list[Ticket] = []
        self.launched: list[tuple[int, list[Any]]] = []
        self.broken: list[BaseException] = []
        self.core = ContinuousCore(self.back.append, self._announce, self.broken.append)
        self.model = Steps(capacity)
        self.session = BundleSession(None, {}, "one")

    def _announce(self, batches: Any) -> None:
        ((number, tickets),) = batches.items()
        self.launched.append((number, [ticket.token for ticket in tickets]))

    def load(self) -> None:
        self.core.loaded(self.model, 1.5)

    def admit(self, *numbers: int, session: BundleSession | None = None, **more: Any) -> None:
        of = session or self.session
        self.core.admit([Ticket(of, number, [number], **more) for number in numbers])

    def run(self) -> list[Any]:
        """The tokens of what is handed back until there is nothing to do."""
        while self.core.wait_seconds() is not None:
            self.core.step()
        return [ticket.token for ticket in self.back]


@pytest.fixture
def bench() -> Bench:
    found = Bench()
    found.load()
    return found


def test_each_leaves_as_it_finishes(bench: Bench) -> None:
    bench.admit(5, 1, 3)
    assert bench.run() == [1, 3, 5]
    assert [ticket.outputs for ticket in bench.back] == [[2], [6], [10]]


def test_what_comes_meanwhile_joins_at_the_next_step(bench: Bench) -> None:
    bench.admit(5)
    bench.core.step()
    bench.admit(1)
    assert bench.run() == [1, 5]


def test_the_model_gets_no_more_than_it_works_on_and_a_few() -> None:
    bench = Bench(16)
    bench.load()
    bench.admit(*range(1, 100))
    assert sorted(bench.run()) == list(range(1, 100))
    assert bench.model.most == 18


def test_all_chunks_of_a_ticket_come_back_in_their_order(bench: Bench) -> None:
    bench.core.admit([Ticket(bench.session, "several", [3, 1, 2])])
    assert bench.run() == ["several"]
    assert bench.back[0].outputs == [6, 2, 4]


def test_a_ticket_without_chunks_is_answered_at_once(bench: Bench) -> None:
    bench.core.admit([Ticket(bench.session, "none", [])])
    assert [ticket.token for ticket in bench.back] == ["none"]


def test_tickets_wait_for_the_model() -> None:
    bench = Bench()
    bench.admit(1)
    assert bench.core.wait_seconds() is None
    assert bench.core.is_busy
    bench.load()
    assert bench.run() == [1]


@pytest.mark.parametrize("late", [False, True])
def test_one_that_is_refused_or_fails_fails_alone(bench: Bench, late: bool) -> None:
    wrong = 4 if late else -1
    bench.model.failures = {8: ValueError("too long")}
    bench.admit(1, wrong, 2)
    bench.run()
    assert {ticket.token: str(ticket.error) for ticket in bench.back} == {
        1: "None",
        wrong: "too long",
        2: "None",
    }


def test_wrong_parameters_are_an_error_of_the_engine(bench: Bench) -> None:
    bench.admit(1, session=BundleSession(None, {"wrong": 1}, "two"))
    bench.run()
    assert isinstance(bench.back[0].error, EngineError)


def test_a_suspect_runs_alone(bench: Bench) -> None:
    bench.admit(3)
    bench.core.step()
    bench.admit(2, 2, run_isolated=True)
    bench.admit(4, 4)
    bench.run()
    assert [tokens for _, tokens in bench.launched if tokens] == [[3], [2], [2], [4, 4]]


def test_what_runs_is_announced_before_each_step_that_changes_it(bench: Bench) -> None:
    bench.admit(1, 3)
    bench.run()
    assert bench.launched == [(1, [1, 3]), (2, [3])]


def test_that_steps_go_on_is_announced_now_and_then(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.core, "_tell", 0.0)
    bench.admit(3)
    bench.run()
    assert bench.launched == [(1, [3]), (2, [3]), (3, [3])]


def test_what_nobody_waits_for_any_more_leaves_the_model(bench: Bench) -> None:
    other = BundleSession(None, {}, "one")
    bench.admit(5, session=other)
    bench.admit(2)
    bench.core.step()
    other.cancelled = True
    assert bench.run() == [5, 2]
    assert len(bench.model.cancelled) == 1
    assert not bench.model.left


def test_a_step_that_fails_ends_the_process(bench: Bench) -> None:
    bench.model.error = RuntimeError("CUDA error")
    bench.admit(1)
    with pytest.raises(EngineError, match="CUDA error"):
        bench.core.step()
    assert [str(error) for error in bench.broken] == ["CUDA error"]


def test_after_a_refusal_all_are_told_why(bench: Bench) -> None:
    bench.admit(1, 2)
    bench.core.step()
    bench.core.refuse(ValueError("no"))
    bench.admit(3)
    assert [str(ticket.error) for ticket in bench.back if ticket.error] == ["no", "no"]
    assert bench.core.dead
    assert bench.core.wait_seconds() is None


def test_the_reports_count_each_chunk_once(bench: Bench) -> None:
    bench.admit(1, 1, 3)
    bench.run()
    reports: list[Any] = [report for ticket in bench.back for report in ticket.reports]
    assert isinstance(reports[0], LoadReport)
    assert [report.rows for report in reports[1:]] == [2, 1]
    assert all(isinstance(report, BatchReport) for report in reports[1:])


def test_it_makes_no_room_for_other_models(bench: Bench) -> None:
    refused: Callable[[], None] = bench.core.unload
    with pytest.raises(EngineError, match="stays loaded"):
        refused()

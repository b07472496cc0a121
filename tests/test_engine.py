"""The engine by itself: what it does about batches that fail, and what it reports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from transforms.ceilings import Ceilings
from transforms.collate import Place
from transforms.engine import Engine, Ticket
from transforms.metrics import BatchReport, LoadReport, Report
from transforms.spec import Limits


class Doubles:
    """A model that doubles numbers, each of a length of its own; and its program."""

    accelerated = False
    generates = False
    nbytes = 12

    def __init__(self, limit: int = 2**62, poison: frozenset[int] = frozenset()) -> None:
        self.limit, self.poison = limit, poison
        self.sizes: list[int] = []
        self.failed: list[int] = []

    def program(self, parameters: Any) -> Doubles:
        return self

    def place(self, number: int) -> Place:
        return Place("all", 10 + number % 7)

    def run(self, numbers: Sequence[int]) -> list[int]:
        size = len(numbers) * max(10 + number % 7 for number in numbers)
        if size > self.limit:
            self.failed.append(size)
            raise torch.OutOfMemoryError("out of memory")
        if found := self.poison & set(numbers):
            raise ValueError(f"poison {min(found)}")
        self.sizes.append(size)
        return [2 * number for number in numbers]


def answers(model: Doubles, numbers: Sequence[int]) -> tuple[list[Ticket], list[Report]]:
    engine = Engine(lambda: model, Limits(batch_tokens=4096), "test")
    client = engine.client({})
    for number in numbers:
        client.submit(number, [number])
    found = [client.answered.get(timeout=60) for _ in numbers]
    engine.close()
    return found, [report for ticket in found for report in ticket.reports]


def test_each_of_a_hundred_bad_elements_fails_alone() -> None:
    poison = frozenset(range(50, 10_000, 100))
    found, reports = answers(Doubles(poison=poison), range(10_000))
    failed = {ticket.token for ticket in found if ticket.error is not None}
    assert failed == poison
    assert all(str(t.error) == f"poison {t.token}" for t in found if t.error is not None)
    assert all(t.chunks == [2 * t.token] for t in found if t.error is None)
    assert sum(r.rows for r in reports if isinstance(r, BatchReport) and not r.split) == 9_900


@pytest.mark.parametrize("limit", [200, 700, 1500])
def test_memory_that_runs_out_is_learned(limit: int) -> None:
    model = Doubles(limit)
    found, reports = answers(model, range(10_000))
    assert all(t.error is None and t.chunks == [2 * t.token] for t in found)
    assert len(found) == 10_000
    first = model.failed[:6]
    assert sorted(first, reverse=True) == first  # ever smaller
    assert len(model.failed) <= 6
    assert sum(isinstance(r, BatchReport) and r.split == "memory" for r in reports) == len(
        model.failed
    )
    settled = model.sizes[len(model.sizes) // 2 : -20]
    assert sum(settled) / len(settled) > 0.6 * limit  # and grown back


def test_what_never_fits_fails_alone() -> None:
    found, _ = answers(Doubles(15), range(70))
    failed = {ticket.token for ticket in found if ticket.error is not None}
    assert failed == {number for number in range(70) if 10 + number % 7 > 15}


def test_everything_is_reported_once() -> None:
    found, reports = answers(Doubles(), range(1000))
    batches = [report for report in reports if isinstance(report, BatchReport)]
    assert sum(report.rows for report in batches) == len(found) == 1000
    assert sum(report.tokens for report in batches) == sum(10 + n % 7 for n in range(1000))
    assert all(report.tokens <= report.padded for report in batches)
    assert [report.nbytes for report in reports if isinstance(report, LoadReport)] == [12]


def test_a_ceiling_rises_again_but_not_to_what_failed() -> None:
    ceilings = Ceilings()
    ceilings.failed("key", 1000)
    assert ceilings.of("key") == 500
    assert ceilings.of("other") > 10**9
    for _ in range(1000):
        ceilings.succeeded("key", ceilings.of("key"))
    assert ceilings.of("key") == 950

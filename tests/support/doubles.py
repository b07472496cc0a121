"""A model that doubles numbers, for an engine in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from transforms.engine.engine import Engine
from transforms.engine.interface import BatchSlot, SynchronousProgram
from transforms.engine.reports import Report
from transforms.engine.tickets import Ticket
from transforms.options.spec import Limits


class Doubles(SynchronousProgram):
    """A model that doubles numbers, each of a length of its own; and its program."""

    accelerated = False
    generates = False
    overlaps = False
    nbytes = 12

    def __init__(self, limit: int = 2**62, poison: frozenset[int] = frozenset()) -> None:
        self.limit, self.poison = limit, poison
        self.sizes: list[int] = []
        self.failed: list[int] = []

    def program(self, parameters: Any) -> Doubles:
        return self

    def batch_slots(self, numbers: Sequence[int]) -> list[BatchSlot]:
        return [BatchSlot("all", 10 + number % 7) for number in numbers]

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
    session = engine.session({})
    for number in numbers:
        session.submit(number, [number])
    found = [session.answered.get(timeout=60) for _ in numbers]
    engine.close()
    return found, [report for ticket in found for report in ticket.reports]

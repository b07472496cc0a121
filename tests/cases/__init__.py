"""What the tables of cases have in common: see test_cases.py, which counts them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

BATCHES = {"one": 1, "four": 4, "all": 512}
ORDERS = ("arrival", "shuffled")
#: Every answer must be the same in each: (batch, order).
COMPOSITIONS = [(batch, order) for batch in BATCHES for order in ORDERS]
_QUICK = (("four", "shuffled"), ("all", "arrival"))
#: The compositions as pytest's parameters: two of them always, the others with `make test-all`.
COMPOSED = [
    pytest.param(*each, marks=() if each in _QUICK else pytest.mark.slow) for each in COMPOSITIONS
]


@dataclass(frozen=True)
class Case:
    """A task on a model with parameters, and what it is asked."""

    task: str
    model: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Any] = ()
    tolerance: float = 1e-5
    #: The parameters as transformers' own pipeline takes them, if it takes others.
    stock: Mapping[str, Any] | None = None

    def __str__(self) -> str:
        return "-".join([self.task, self.model, *self.parameters])


def arranged(inputs: Sequence[Any], order: str) -> list[tuple[int, Any]]:
    """The inputs with their numbers, in one of ORDERS."""
    elements = list(enumerate(inputs))
    if order == "shuffled":
        random.Random(7).shuffle(elements)
    return elements

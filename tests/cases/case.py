"""What a case is: a task on a model with parameters, and how its answers are judged."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import transformers
from support import comparing
from support.recorded_cases import changed

BATCHES = {"one": 1, "four": 4, "all": 512}
ORDERS = ("arrival", "shuffled")
#: Every answer must be the same in each: (batch, order).
COMPOSITIONS = [(batch, order) for batch in BATCHES for order in ORDERS]
_QUICK = (("four", "shuffled"),)
#: The compositions as pytest's parameters: one of them always, the others with `make test-all`.
COMPOSED = [
    pytest.param(*each, marks=() if each in _QUICK else pytest.mark.slow) for each in COMPOSITIONS
]

#: The directory of a tiny model, by its name in support/models.
Model = Callable[[str], str]


@dataclass(frozen=True, eq=False)
class Case:
    """A task on a model with parameters, and what it is asked.

    Subclasses say where the reference comes from, and what counts as the same answer, if that is
    not transformers' own pipeline, asked one input at a time, and floats up to the tolerance.
    """

    task: str
    model: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Any] = ()
    tolerance: float = 1e-5
    #: The parameters as transformers' own pipeline takes them, if it takes others.
    stock: Mapping[str, Any] | None = None
    #: What the model's JSON files say in place of what they say: file -> key -> value.
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: What the largest batch has at least, if no input has to wait for another. 1: no two inputs
    #: may share one; 0: the model cannot compute several at once.
    largest: int = 3

    #: pytest's marks for every test of the case.
    marks: ClassVar[Sequence[Any]] = ()
    #: The share of the answers that must differ from each other: else the tests prove little.
    different: ClassVar[float] = 0.6

    def __str__(self) -> str:
        return "-".join([self.task, self.model, *self.parameters, *self.files])

    def directory(self, model: Model) -> str:
        """The directory of the model."""
        return str(changed(Path(model(self.model)), self.files))

    def arguments(self, model: Model) -> dict[str, Any]:
        """The parameters as the transform takes them."""
        return dict(self.parameters)

    def reference(self, model: Model) -> list[Any]:
        """The answers that the transform must give."""
        pipe = transformers.pipeline(self.task, self.directory(model), device="cpu")
        stock = self.parameters if self.stock is None else self.stock
        return [self.ask(pipe, copy.deepcopy(x), copy.deepcopy(dict(stock))) for x in self.inputs]

    def ask(self, pipe: Any, example: Any, parameters: dict[str, Any]) -> Any:
        """The answer of transformers' own pipeline to one input."""
        return pipe(example, **parameters)

    def same(self, expected: Any, found: Any) -> bool:
        """Whether an answer is the reference."""
        return comparing.same(expected, found, self.tolerance)

    def tells_apart(self, answers: Sequence[Any]) -> bool:
        """Whether these answers would show that two inputs were mixed up."""
        return len(set(map(self.essence, answers))) >= self.different * len(answers)

    def essence(self, answer: Any) -> str:
        """What of an answer must differ from the others."""
        return repr(answer)

    def shares(self, sizes: Sequence[int]) -> bool:
        """Whether all inputs' chunks make batches of these sizes."""
        if self.largest < 2:
            return max(sizes) == 1
        return max(sizes) >= min(self.largest, len(self.inputs))

    def around(self) -> AbstractContextManager[Any]:
        """What both the reference and the transform are computed in."""
        return nullcontext()


@dataclass(frozen=True, eq=False)
class OwnLabels(Case):
    """Inputs with labels of their own, which transformers' pipeline takes as a parameter."""

    def ask(self, pipe: Any, example: Any, parameters: dict[str, Any]) -> Any:
        labels = example.pop("candidate_labels")
        (medium,) = example.values()
        return pipe(medium, **{**parameters, "candidate_labels": labels})


def arranged(inputs: Sequence[Any], order: str) -> list[tuple[int, Any]]:
    """The inputs with their numbers, in one of ORDERS."""
    elements = list(enumerate(inputs))
    if order == "shuffled":
        random.Random(7).shuffle(elements)
    return elements

"""Promise 1 for the image tasks: the answer is transformers' own, in any batch and any order."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from apache_beam.ml.inference.base import PredictionResult
from image_models import PICTURES
from PIL import Image
from test_text import same

from pipelines_beam import pipeline

Run = Callable[..., list[Any]]


@dataclass(frozen=True)
class Case:
    """A task on a model with parameters, and what it is asked."""

    task: str
    model: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Any] = tuple(PICTURES)
    tolerance: float = 1e-5

    def __str__(self) -> str:
        return "-".join([self.task, self.model, *self.parameters])


CASES = [
    Case("image-classification", "vit-classification"),
    Case("image-classification", "vit-classification", {"top_k": 2}),
    Case("image-classification", "resnet-classification"),
    Case("image-classification", "resnet-classification", {"function_to_apply": "softmax"}),
]
BATCHES = {"one": 1, "four": 4, "all": 512}


def equal(left: Any, right: Any, tolerance: float = 1e-5) -> bool:
    """As `same`, images within one grey level."""
    if isinstance(left, Image.Image):
        return (
            isinstance(right, Image.Image)
            and left.size == right.size
            and left.mode == right.mode
            and int(np.abs(np.asarray(left, int) - np.asarray(right, int)).max()) <= 1
        )
    if isinstance(left, torch.Tensor | np.ndarray):
        return (
            type(left) is type(right)
            and left.shape == right.shape
            and np.allclose(np.asarray(left), np.asarray(right), tolerance, tolerance)
        )
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(
            equal(left[name], right[name], tolerance) for name in left
        )
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(
            equal(a, b, tolerance) for a, b in zip(left, right, strict=True)
        )
    return same(left, right, tolerance)


@pytest.fixture(scope="module")
def oracle(model: Callable[[str], str]) -> Callable[[Case], list[Any]]:
    """transformers' own answers, one input at a time."""
    known: dict[str, list[Any]] = {}

    def answers(case: Case) -> list[Any]:
        key = f"{case}{case.parameters}"
        if key not in known:
            pipe = transformers.pipeline(case.task, model(case.model), device="cpu")
            known[key] = [pipe(x, **case.parameters) for x in case.inputs]
        return known[key]

    return answers


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_cases_tell_answers_apart(case: Case, oracle: Callable[[Case], list[Any]]) -> None:
    answers = oracle(case)
    alike = [equal(answers[0], answer, 1e-3) for answer in answers[1:]]
    assert not any(alike), answers


@pytest.mark.parametrize(
    ("batch", "order"),
    [("one", "arrival"), ("four", "arrival"), ("four", "shuffled"), ("all", "shuffled")],
)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_answer_is_transformers_own(
    case: Case,
    batch: str,
    order: str,
    model: Callable[[str], str],
    oracle: Callable[[Case], list[Any]],
    run: Run,
) -> None:
    expected = oracle(case)
    elements = list(enumerate(case.inputs))
    if order == "shuffled":
        random.Random(7).shuffle(elements)
    transform = pipeline(
        case.task, model(case.model), keyed=True, batch_size=BATCHES[batch], **case.parameters
    )

    found = dict(run(elements, transform))

    assert found.keys() == set(range(len(expected)))
    for i, answer in enumerate(expected):
        assert isinstance(found[i], PredictionResult)
        assert equal(answer, found[i].inference, case.tolerance), (answer, found[i].inference)

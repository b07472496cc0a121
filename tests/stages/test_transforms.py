"""The three stages as transforms of a pipeline of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apache_beam as beam
from support.comparing import same
from support.texts import CORPUS

from pipelines_beam import Forward, Postprocess, Preprocess, TextClassification

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


def test_stages_can_be_put_together_by_hand(model: Model, run: Run) -> None:
    task = TextClassification(model("bert-classification"))
    found = run(CORPUS, Preprocess(task), Forward(task), beam.Reshuffle(), Postprocess(task))
    expected = {result.example: result.inference for result in run(CORPUS, task)}
    assert {result.example: result.inference for result in found}.keys() == expected.keys()
    for result in found:
        assert same(result.inference, expected[result.example])

"""The three stages as transforms of a pipeline of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to
from support.comparing import same
from support.counting import Counting
from support.runs import RUNNER
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


class Batches(beam.DoFn):  # type: ignore[misc]
    """A step that Beam gives batches of elements."""

    def process_batch(self, batch: list[Any]) -> Iterator[list[int]]:
        yield [1] * len(batch)

    def get_input_batch_type(self, input_element_type: Any) -> Any:
        return list[input_element_type]

    def infer_output_type(self, input_type: Any) -> Any:
        return int

    def get_output_batch_type(self, input_element_type: Any) -> Any:
        return list[int]


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_nothing_is_lost_before_a_step_that_takes_batches(model: Model, stages: int) -> None:
    task = TextClassification(model("bert-classification"))
    elements = [*CORPUS, None, 1]
    with beam.Pipeline(RUNNER) as p:
        failures = []
        good = p | beam.Create(elements, reshuffle=False)
        for stage in (Preprocess(task), Forward(task), Postprocess(task))[:stages]:
            good, bad = good | stage.with_exception_handling()
            failures.append(bad | f"{stages} {type(stage).__name__}" >> beam.ParDo(Batches()))
        assert_that(good | beam.ParDo(Batches()), equal_to([1] * len(CORPUS)))
        assert_that(failures[0], equal_to([1, 1]), label="failed")


def test_no_prediction_of_a_handler_is_lost_before_a_step_that_takes_batches(run: Run) -> None:
    found = run(CORPUS, Forward(handler=Counting()), beam.ParDo(Batches()))
    assert found == [1] * len(CORPUS)

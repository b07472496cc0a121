"""Promise 1: the answer is the reference answer, in any batch and any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import transformers
from apache_beam.ml.inference.base import PredictionResult
from cases import BATCHES, CASES, COMPOSED, Case, Model, arranged
from packaging.version import Version
from support.comparing import equal

from pipelines_beam import pipeline
from transforms.batching.replica import Replica
from transforms.media.decoding import decoded
from transforms.options.media_limits import MediaLimits
from transforms.options.spec import ModelSpec
from transforms.pipelines.factory import weightless
from transforms.pipelines.split_call import SplitPipeline
from transforms.tasks import find

Reference = Callable[[Case], list[Any]]
#: Tasks of chats with media whose several answers to an input have no rows in these versions.
_WITHOUT_ROWS = {"image-text-to-text", "any-to-any"}
if Version(transformers.__version__) >= Version("5.23"):
    _WITHOUT_ROWS.clear()

#: Cases of a task that are asked in the default run; the others have the marker `further`.
_FIRST = 2


def _parameters() -> Iterator[Any]:
    """The cases, as parameters of tests."""
    asked: Counter[str] = Counter()
    for case in CASES:
        asked[case.task] += 1
        further = (pytest.mark.further,) if asked[case.task] > _FIRST else ()
        yield pytest.param(case, marks=(*case.marks, *further))


#: The scope puts all tests of a case one after the other: they share its model and reference.
each_case = pytest.mark.parametrize("case", list(_parameters()), ids=str, scope="module")


@pytest.mark.parametrize(("batch", "order"), COMPOSED)
@each_case
def test_the_answer_is_the_reference_answer(
    case: Case,
    batch: str,
    order: str,
    model: Model,
    reference: Reference,
    run: Callable[..., list[Any]],
) -> None:
    expected = reference(case)
    transform = pipeline(
        case.task,
        case.directory(model),
        keyed=True,
        batch_size=BATCHES[batch],
        **case.arguments(model),
    )

    with case.around():
        found = dict(run(arranged(case.inputs, order), transform))

    assert found.keys() == set(range(len(expected)))
    for i, answer in enumerate(expected):
        assert isinstance(found[i], PredictionResult)
        assert equal(found[i].example, case.inputs[i], 0.0)
        assert case.same(answer, found[i].inference), (answer, found[i].inference)


@each_case
def test_the_cases_tell_answers_apart(case: Case, reference: Reference) -> None:
    """Else the test above would prove little."""
    assert case.tells_apart(reference(case)), reference(case)


@each_case
def test_whatever_may_share_a_batch_does(case: Case, model: Model, reference: Reference) -> None:
    """Batches as large as their keys allow, which timing does not promise inside a pipeline."""
    expected = reference(case)
    spec = ModelSpec(task=case.task, source=case.directory(model), device="cpu")
    parameters = case.arguments(model)
    split = SplitPipeline(weightless(spec), parameters)
    program = Replica(spec).program(parameters)
    examples = [decoded(x, find(case.task), split.pipe, MediaLimits()) for x in case.inputs]
    features = [split.preprocess(example) for example in examples]
    groups: dict[Any, list[tuple[int, int]]] = {}
    for i, (chunks, _) in enumerate(features):
        for j, chunk in enumerate(chunks):
            groups.setdefault(program.batch_slot(chunk).key, []).append((i, j))
    outputs: dict[tuple[int, int], Any] = {}
    with case.around():
        for places in groups.values():
            computed = program.run([features[i][0][j] for i, j in places])
            outputs.update(zip(places, computed, strict=True))

    assert case.shares(list(map(len, groups.values())))
    several = "num_return_sequences" in case.parameters
    has_rows = not (several and case.task in _WITHOUT_ROWS)
    # It was not told that its outputs have no rows.
    assert program._padding.can_batch == (case.largest > 0 and has_rows)
    for i, answer in enumerate(expected):
        chunks, counts = features[i]
        own = [outputs[i, j] for j in range(len(chunks))]
        found = split.postprocess(examples[i], own, counts)
        assert case.same(answer, found), (answer, found)


def test_every_case_is_asked_in_every_composition() -> None:
    marks: list[Any] = test_the_answer_is_the_reference_answer.pytestmark
    asked = {mark.args[0]: mark.args[1] for mark in marks if mark.name == "parametrize"}
    assert asked["batch", "order"] == COMPOSED
    assert [each.values for each in asked["case"]] == [(case,) for case in CASES]

"""The tables of cases together: every task, its kinds of models, every composition of batches."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import test_any_to_any
import test_audio
import test_decision
import test_image
import test_multimodal
import test_revived_beam
import test_text
import test_text_to_image
import test_video
from cases import BATCHES, COMPOSED, COMPOSITIONS, Case
from support.models.speech import SPEAKS
from support.pictures import PICTURES

from transforms.tasks import TASKS, find

#: The modules whose cases are compared with transformers' own answers.
TABLES: tuple[ModuleType, ...] = (test_text, test_image, test_video, test_audio, test_multimodal)
#: Compared with what 4.57 answered.
RECORDED = [*test_revived_beam.HELD, Case("image-to-image", "swin2sr", {}, PICTURES)]
CASES: list[Any] = [*(case for table in TABLES for case in table.CASES), *RECORDED]

#: Tasks with one architecture, and why.
ONE_KIND = {
    "image-to-image": "transformers' auto class knows no other than Swin2SR",
    "zero-shot-audio-classification": "only CLAP scores sounds by texts: with and without fusion",
}
#: Tasks whose cases are of another form, and the tests that ask them in every composition.
APART: dict[str, Any] = {
    "any-to-any": test_any_to_any.test_the_answer_is_transformers_own,
    "decision": test_decision.test_the_answer_is_transformers_own,
    "text-to-image": test_text_to_image.test_the_image_is_that_of_diffusers_alone,
}
#: Tasks without a case, and why.
UNTESTED: dict[str, str] = {}
if not SPEAKS:
    UNTESTED["text-to-audio"] = "its own pipeline raises a TypeError in this version"


def test_every_task_has_a_case() -> None:
    tested = {find(case.task).name for case in CASES}
    assert tested == TASKS.keys() - UNTESTED.keys() - APART.keys()


def test_every_task_has_two_kinds_of_models(model: Callable[[str], str]) -> None:
    kinds: dict[str, set[str]] = defaultdict(set)
    for case in CASES:
        config = json.loads((Path(model(case.model)) / "config.json").read_text())
        kinds[find(case.task).name].add(config["model_type"])
    assert {task for task, found in kinds.items() if len(found) == 1} == ONE_KIND.keys()


def test_there_are_many_cases_of_different_inputs() -> None:
    several = [case for case in CASES if len({repr(each) for each in case.inputs}) > 1]
    assert len(several) >= 150
    assert len(CASES) - len(several) < 5


def test_floats_may_differ_by_noise_alone() -> None:
    assert all(case.tolerance <= 1e-5 for table in TABLES for case in table.CASES)


def test_compositions_are_all_batches_in_both_orders() -> None:
    assert set(BATCHES.values()) == {1, 4, 512}
    assert set(COMPOSITIONS) == {(b, o) for b in BATCHES for o in ("arrival", "shuffled")}
    assert [each.values for each in COMPOSED] == COMPOSITIONS


@pytest.mark.parametrize(
    "test",
    [
        *(table.test_the_answer_is_transformers_own for table in TABLES),
        test_revived_beam.test_answers_are_those_of_4_57_in_any_batch,
        test_image.test_image_to_image_is_that_of_4_57,
        *APART.values(),
    ],
)
def test_every_case_is_asked_in_every_composition(test: Any) -> None:
    asked = [mark.args[1] for mark in test.pytestmark if mark.name == "parametrize"]
    assert COMPOSED in asked

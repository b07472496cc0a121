"""The table of cases: every task, its kinds of models, every composition of batches."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from cases import BATCHES, CASES, COMPOSED, COMPOSITIONS, UNTESTED, Model, recorded
from support import recorded_cases

from transforms.tasks import ABSENT, TASKS, find

#: Tasks with one architecture, and why.
ONE_KIND = {
    "image-to-image": "transformers' auto class knows no other than Swin2SR",
    "zero-shot-audio-classification": "only CLAP scores sounds by texts: with and without fusion",
}
PRESENT = [case for case in CASES if case.task not in ABSENT]


def test_every_task_has_a_case() -> None:
    tested = {find(case.task).name for case in PRESENT}
    missing = TASKS.keys() - UNTESTED.keys() - tested
    assert not missing, "add cases to a module of tests/cases, or a module"
    assert not tested & UNTESTED.keys()


def test_every_task_has_two_kinds_of_models(model: Model) -> None:
    kinds: dict[str, set[str]] = defaultdict(set)
    for case in PRESENT:
        kinds[find(case.task).name].add(kind(Path(model(case.model))))
    few = {task for task, found in kinds.items() if len(found) == 1}
    assert few == ONE_KIND.keys(), "add a case on a model of another architecture"


def kind(directory: Path) -> str:
    """What tells architectures apart: of transformers' models, or of diffusers' pipelines."""
    index = directory / "model_index.json"
    file, key = (
        (index, "_class_name") if index.exists() else (directory / "config.json", "model_type")
    )
    return str(json.loads(file.read_text())[key])


def test_there_are_many_cases_of_different_inputs() -> None:
    several = [case for case in CASES if len({repr(each) for each in case.inputs}) > 1]
    assert len(several) >= 150
    assert len(CASES) - len(several) < 5


def test_floats_may_differ_by_noise_alone() -> None:
    assert all(case.tolerance <= 1e-5 for case in CASES)


def test_compositions_are_all_batches_in_both_orders() -> None:
    assert set(BATCHES.values()) == {1, 4, 512}
    assert set(COMPOSITIONS) == {(b, o) for b in BATCHES for o in ("arrival", "shuffled")}
    assert [each.values for each in COMPOSED] == COMPOSITIONS


def test_most_recorded_cases_are_asked() -> None:
    assert len(recorded.HELD) > 0.7 * len(recorded_cases.CASES)

"""The plan of a task, which its stages share."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import apache_beam as beam
import pytest

from pipelines_beam import Forward, Postprocess, Preprocess, TextClassification
from transforms.options.spec import ModelSpec
from transforms.stages.plan import TaskPlan, plan_of
from transforms.weights import hub


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models whose commits were looked up; each time there is a newer one."""
    sources: list[str] = []

    def pinned(spec: ModelSpec) -> ModelSpec:
        sources.append(spec.source)
        return replace(spec, revision=f"commit {len(sources)}")

    monkeypatch.setattr(hub, "pinned", pinned)
    return sources


def test_a_commit_is_looked_up_once(asked: list[str]) -> None:
    task = TextClassification("org/model")
    assert not asked
    plan = task.plan
    plans = [plan.pinned, plan.pinned.pinned, plan.pinned, replace(plan.pinned, element_type=str)]
    assert {each.pinned.spec.model.revision for each in plans} == {"commit 1"}
    assert asked == ["org/model"]


def test_all_stages_and_pipelines_of_a_task_have_one_commit(asked: list[str]) -> None:
    task = TextClassification("org/model")
    for _ in range(2):
        elements = beam.Pipeline() | beam.Create(["a"])
        elements | Preprocess(task) | Forward(task) | Postprocess(task)
        with_failures = (stage(task).with_exception_handling() for stage in (Preprocess, Forward))
        for stage in with_failures:
            elements | f"Again {type(stage).__name__}" >> stage
    assert asked == ["org/model"]


def test_expand_changes_nothing_of_the_transform(asked: list[str]) -> None:
    task = TextClassification("org/model")
    plan, spec = task.plan, task.spec
    beam.Pipeline() | beam.Create(["a"]) | Preprocess(task)
    assert task.plan is plan
    assert task.spec is spec
    assert task.spec.model.revision is None


def test_a_plan_is_frozen() -> None:
    plan: Any = TextClassification("org/model").plan
    with pytest.raises(FrozenInstanceError):
        plan.updates = "models/*"


def test_the_plan_of_a_task_or_of_itself() -> None:
    task = TextClassification("org/model")
    assert plan_of(task) is plan_of(task.plan) is task.plan
    assert isinstance(task.plan, TaskPlan)


def test_replaced_stages() -> None:
    assert TextClassification("org/model").plan.replaced_stages == []
    assert TextClassification("org/model", preprocess=len).plan.replaced_stages == ["preprocess"]
    both = TextClassification("org/model", preprocess=len, postprocess=beam.Map(str))
    assert both.plan.replaced_stages == ["preprocess", "postprocess"]

"""Every task of transformers is in the registry, under all of its names."""

from __future__ import annotations

import transformers.pipelines
from transformers.pipelines import SUPPORTED_TASKS, TASK_ALIASES

from transforms.tasks import ALIASES, LEFT_OUT, TASKS


def test_every_task_of_transformers_is_there_or_left_out_for_a_reason() -> None:
    stock = {name for name, task in TASKS.items() if task.pipeline is None}
    ours = {name for name, task in TASKS.items() if task.pipeline is not None}
    assert set(SUPPORTED_TASKS) - ours == (stock | LEFT_OUT.keys()) & set(SUPPORTED_TASKS)
    assert not stock - set(SUPPORTED_TASKS), "transformers dropped them: revive or remove"
    assert not LEFT_OUT.keys() & TASKS.keys()
    assert all(len(reason) > 20 for reason in LEFT_OUT.values())


def test_every_task_that_transformers_dropped_is_there_or_left_out_for_a_reason() -> None:
    removed = getattr(transformers.pipelines, "REMOVED_TASKS", ())  # not before 5.2x
    assert set(removed) <= TASKS.keys() | ALIASES.keys() | LEFT_OUT.keys()


def test_aliases_are_transformers_own() -> None:
    for alias, name in TASK_ALIASES.items():
        assert name in LEFT_OUT or ALIASES[alias] == name

"""What users import, and the parameters that transformers' classes take."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pipelines_beam
from transforms.tasks import ABSENT, ALIASES, TASKS

#: Beside the transforms of the tasks.
NAMES = {
    "CustomPipeline",
    "DecodeImages",
    "ElementError",
    "Forward",
    "LocalPipeline",
    "ModelLoadError",
    "Postprocess",
    "Preprocess",
    "Record",
    "TaskModelHandler",
    "TaskTransform",
    "pipeline",
    "predict",
    "release_model",
}


def test_the_front_door() -> None:
    tasks = {task.transform for task in TASKS.values()} | absent()
    assert sorted(pipelines_beam.__all__) == sorted(NAMES | tasks)
    assert all(hasattr(pipelines_beam, name) for name in pipelines_beam.__all__)


def absent() -> set[str]:
    """The transforms of tasks that the installed transformers does not have."""
    transforms = pipelines_beam.TaskTransform.__subclasses__()
    return {cls.__name__ for cls in transforms if cls.task in ABSENT}


def test_every_task_has_a_transform_of_its_name() -> None:
    classes = {cls.__name__ for cls in pipelines_beam.TaskTransform.__subclasses__()}
    assert classes - absent() == {task.transform for task in TASKS.values()} | {"CustomPipeline"}
    assert not set(ALIASES) & set(TASKS)


#: Parameters of transformers' classes that a transform does not take, and why.
LEFT_OUT = {
    "offset_mapping": "belongs to one input",
    "return_type": "an internal form of return_full_text and return_tensors",
}


@pytest.mark.parametrize("task", sorted(TASKS))
def test_parameters_are_those_of_the_pipeline_class(task: str) -> None:
    taken = inspect.signature(TASKS[task].pipeline_class()._sanitize_parameters).parameters
    named = {
        name
        for name, item in taken.items()
        if name != "self" and item.kind is not inspect.Parameter.VAR_KEYWORD
    }
    assert named - set(LEFT_OUT) <= set(TASKS[task].parameters)


def test_another_package_of_the_same_name_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "transforms").mkdir()
    (tmp_path / "transforms" / "__init__.py").touch()
    code = "from pipelines_beam import TextClassification"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{tmp_path}/transforms/__init__.py hides the package" in done.stderr

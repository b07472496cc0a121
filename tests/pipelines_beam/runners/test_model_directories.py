"""A model that workers may lack is spoken of before the job is sent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines_beam.runners import model_directories
from transforms.options.spec import ModelSpec, Spec

FAR = ["--runner=FlinkRunner", "--flink_master=flink.example.com:8081"]


@pytest.mark.parametrize(
    ("given", "is_said"),
    [
        (FAR, True),
        (["--runner=DataflowRunner"], True),
        (["--runner=FlinkRunner", "--flink_master=localhost:8081"], False),
        (["--runner=FlinkRunner"], False),
        (["--runner=DirectRunner"], False),
    ],
)
def test_a_directory(given: list[str], is_said: bool, model: Callable[[str], str]) -> None:
    path = model("bert-classification")
    spec = Spec(model=ModelSpec(task="text-classification", source=path))
    said = model_directories.note(PipelineOptions(given), [spec])
    assert (said is not None) is is_said
    assert said is None or f"a directory of this machine, {path!r}: each worker needs it" in said


def test_what_all_workers_can_reach() -> None:
    specs = [
        Spec(model=ModelSpec(task="text-classification", source=each))
        for each in ("my/model", "memory://m")
    ]
    assert model_directories.note(PipelineOptions(FAR), specs) is None

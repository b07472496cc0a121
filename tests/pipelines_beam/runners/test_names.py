"""The names that Beam takes for a runner."""

from __future__ import annotations

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipelines_beam.beam_options import DEFAULT_RUNNER
from pipelines_beam.runners.names import runner_name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("flink", "FlinkRunner"),
        ("flinkrunner", "FlinkRunner"),
        ("FlinkRunner", "FlinkRunner"),
        ("apache_beam.runners.portability.flink_runner.FlinkRunner", "FlinkRunner"),
        ("dataflow", "DataflowRunner"),
        (DEFAULT_RUNNER, "FnApiRunner"),
        ("my.module.OwnRunner", "OwnRunner"),
    ],
)
def test_one_name_for_each(given: str, name: str) -> None:
    options = PipelineOptions()
    options.view_as(StandardOptions).runner = given
    assert runner_name(options) == name

"""How many worker processes a runner says that it has on a machine."""

from __future__ import annotations

import os

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.runner import PipelineRunner
from support.runs import RUNNER

from transforms.stages.runner import worker_processes


class PrismRunner(PipelineRunner):  # type: ignore[misc]
    """One with the name of Beam's, whose workers are in this process unless options say more."""


class Remote(PipelineRunner):  # type: ignore[misc]
    """A runner that nothing is known of."""


@pytest.mark.parametrize(
    ("runner", "options", "processes"),
    [
        (RUNNER, {}, 1),
        ("DirectRunner", {}, 1),
        (RUNNER, {"direct_running_mode": "multi_threading", "direct_num_workers": 4}, 1),
        (RUNNER, {"direct_running_mode": "multi_processing", "direct_num_workers": 4}, 4),
        (
            RUNNER,
            {"direct_running_mode": "multi_processing", "direct_num_workers": 0},
            os.cpu_count(),
        ),
        (Remote(), {}, None),
        (Remote(), {"environment_type": "DOCKER"}, None),
        (Remote(), {"environment_type": "LOOPBACK"}, 1),
        (PrismRunner(), {}, 1),
        (PrismRunner(), {"environment_type": "DOCKER"}, None),
    ],
)
def test_worker_processes(runner: object, options: dict[str, object], processes: int) -> None:
    pipeline = beam.Pipeline(runner, PipelineOptions(**options))
    assert worker_processes(pipeline) == processes

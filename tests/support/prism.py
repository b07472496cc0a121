"""Prism as the runner of the tests that run pipelines: `make prism`."""

from __future__ import annotations

import os
from typing import Any

from apache_beam.options.pipeline_options import PrismRunnerOptions
from apache_beam.runners.portability import prism_runner


class PrismRunner(prism_runner.PrismRunner):  # type: ignore[misc]
    """Beam's, with the program of the variable PRISM; its workers are threads of the test."""

    def run_portable_pipeline(self, pipeline: Any, options: Any) -> Any:
        options.view_as(PrismRunnerOptions).prism_location = os.environ["PRISM"]
        return super().run_portable_pipeline(pipeline, options)

"""Facts about the runner that are known while the pipeline is built."""

from __future__ import annotations

import os

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PortableOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner, SwitchingDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

#: Runners in this process, unless their options say otherwise.
_LOCAL_RUNNERS = (FnApiRunner, SwitchingDirectRunner, BundleBasedDirectRunner)


def worker_processes(pipeline: beam.Pipeline) -> int | None:
    """How many worker processes the pipeline's runner has on a machine. None: not known here."""
    options = pipeline.options
    environment = options.view_as(PortableOptions).environment_type or _default(pipeline.runner)
    if environment == "LOOPBACK":
        return 1
    if not isinstance(pipeline.runner, _LOCAL_RUNNERS):
        return None
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode != "multi_processing":
        return 1
    return direct.direct_num_workers or os.cpu_count()


def _default(runner: beam.runners.PipelineRunner) -> str | None:
    """The type of a runner's environment where none is given, as far as that is known here."""
    names = [each.__name__ for each in type(runner).__mro__]  # importing it takes a second
    return "LOOPBACK" if "PrismRunner" in names else None

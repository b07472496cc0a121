"""What a job over files will take, as a function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from transforms import TaskTransform

from ..beam_options import DEFAULT_RUNNER
from .transform import ProcessFiles

if TYPE_CHECKING:
    from ..forecast.forecast import Forecast


def plan_files(
    files: str | Sequence[str],
    task: TaskTransform,
    output: str,
    *,
    seconds: float = 60.0,
    workers: int = 1,
    price_per_hour: float | None = None,
    profile: str | None = None,
    **settings: Any,
) -> Forecast:
    """Say what `process_files` with the same arguments will take, without running it.

    A sample of the rows is computed on this machine. Nothing is written to the output.

    Args:
      files: as of ProcessFiles.
      task: as of ProcessFiles.
      output: as of ProcessFiles.
      seconds: how long to measure at most, beside loading the model.
      workers: say what so many workers, of which each is like this machine, will take.
      price_per_hour: of a worker.
      profile: a file that `pipelines-beam profile` has written on another machine: its speed is
        used, and the model is not loaded here.
      **settings: the other options of ProcessFiles.

    Raises what ProcessFiles raises when it is applied; ModelLoadError; ProfileError for a file that
    is not a profile, or that of another task; EmptyJobError where no row is left to compute.

    """
    from ..forecast import planned
    from ..forecast.profile import Profile

    options = planned.Options(
        seconds=seconds,
        workers=workers,
        price_per_hour=price_per_hour,
        profile=None if profile is None else Profile.read(profile),
    )
    transform = ProcessFiles(files, task, output, **settings)
    transform.writes = False
    _ = beam.Pipeline(options=PipelineOptions([], runner=DEFAULT_RUNNER)) | transform
    assert transform.job is not None
    return planned.forecast(transform.job, task, options)

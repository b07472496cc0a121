"""Models that are directories of this machine, in a job whose workers are on others."""

from __future__ import annotations

import os
from collections.abc import Iterable

from apache_beam.options.pipeline_options import PipelineOptions

from transforms.options.spec import Spec

from . import flink_rest
from .names import runner_name


def note(options: PipelineOptions, models: Iterable[Spec]) -> str | None:
    """What to say of a job's models before it is sent; None: nothing."""
    folders = sorted({each.model.source for each in models if os.path.isabs(each.model.source)})
    if not folders or not _is_elsewhere(options):
        return None
    return (
        f"the model is a directory of this machine, {', '.join(map(repr, folders))}: each worker "
        "needs it under the same path, for example in its image; or give a URI such as s3://…"
    )


def _is_elsewhere(options: PipelineOptions) -> bool:
    runner = runner_name(options)
    cluster = flink_rest.of(options) if runner == "FlinkRunner" else None
    return runner == "DataflowRunner" or (cluster is not None and not cluster.is_here)

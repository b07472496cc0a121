"""How many worker processes a job on this machine has."""

from __future__ import annotations

import math
import os
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
)
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult

from transforms.options.spec import Spec
from transforms.stages.forward import ForwardFn
from transforms.tasks import TASKS

from . import machine, worker_process
from .beam_options import DEFAULT_RUNNER

#: Processes that prepare texts: more prepare more than one engine's process takes.
_MOST_FOR_TEXTS = 8
#: Bytes of memory of a worker process, and the part of the machine's that all of them may take.
_WORKER_BYTES, _MEMORY_PART = 0.5e9, 0.25


class LocalPipeline(beam.Pipeline):  # type: ignore[misc]
    """A pipeline that runs on this machine, with as many worker processes as help.

    ```python
    with LocalPipeline() as p:
        p | beam.Create(["I love this"]) | TextClassification() | beam.Map(print)
    ```

    On an accelerator, one process cannot prepare as much as the device computes: worker processes
    prepare on all cores but one, and the engine's process feeds the device. Elsewhere one process
    is best, and the pipeline runs in this one.

    Args:
      options: Beam's options. The number of worker processes is left as it is where they set it
        (`direct_num_workers`, `direct_running_mode`).

    """

    def __init__(self, options: PipelineOptions | None = None) -> None:
        options = PipelineOptions([]) if options is None else options
        super().__init__(DEFAULT_RUNNER, options)

    def run(self, *args: Any, **kwargs: Any) -> PipelineResult:
        """Run it; see beam.Pipeline.run."""
        use_cores(self)
        return super().run(*args, **kwargs)


def use_cores(pipeline: beam.Pipeline) -> int:
    """Set how many worker processes run a pipeline that is built; returns that number.

    It stays as it is where it is set already, and where the pipeline runs elsewhere. If a worker
    process dies, the job ends with an error.
    """
    worker_process.register()
    direct = pipeline.options.view_as(DirectOptions)
    is_set = direct.direct_num_workers != 1 or direct.direct_running_mode != "in_memory"
    if not is_set and isinstance(pipeline.runner, FnApiRunner):
        count = worker_processes(models(pipeline))
        if count > 1:
            direct.direct_running_mode = "multi_processing"
            direct.direct_num_workers = count
    return int(direct.direct_num_workers)


def worker_processes(models: list[Spec]) -> int:
    """How many worker processes help to run models on this machine: 1 without an accelerator.

    With one: as many as there are cores beside the engine's process, at most 8 where texts alone
    are prepared, and as many as a quarter of the memory has room for (0.5 GB each).
    """
    import torch

    on_cpus = (
        os.name != "posix" or not models or not all(each.model.takes_accelerator for each in models)
    )
    if on_cpus or not torch.accelerator.is_available():
        return 1
    count = machine.cores() - 1
    if not any(TASKS[each.task].media for each in models if each.task in TASKS):
        count = min(count, _MOST_FOR_TEXTS)
    memory = machine.memory() or math.inf
    return max(1, int(min(count, memory * _MEMORY_PART / _WORKER_BYTES)))


def models(pipeline: beam.Pipeline) -> list[Spec]:
    """What the pipeline's engines run."""
    found: list[Spec] = []

    class Visitor(PipelineVisitor):  # type: ignore[misc]
        def visit_transform(self, node: AppliedPTransform) -> None:
            fn = getattr(node.transform, "fn", None)
            if isinstance(fn, ForwardFn):
                found.append(fn.spec)

    pipeline.visit(Visitor())
    return found

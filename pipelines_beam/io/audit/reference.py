"""The reference that answers are compared with: the same model in float32, a row at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from transforms import TaskTransform
from transforms.engine.errors import is_fatal
from transforms.engine.reports import Report
from transforms.media import suspects
from transforms.options.spec import Spec
from transforms.stages import metrics
from transforms.stages.failure_rows import failure
from transforms.stages.plan import TaskPlan
from transforms.stages.tables import TableFn

#: Keywords of `from_pretrained` that would give the weights another precision.
_PRECISION = frozenset({"dtype", "torch_dtype", "load_in_4bit", "load_in_8bit"})


def reference_plan(
    task: TaskTransform, device: int | str | None, processes: int | None
) -> TaskPlan:
    """The plan of a task with weights of float32, each chunk in a batch of its own.

    Args:
      task: the job's.
      device: where it is computed. None: where the job computes.
      processes: how many worker processes share a machine.

    """
    plan = replace(task.plan.pinned, is_whole=True)
    spec = plan.spec
    kwargs = {k: each for k, each in spec.model.model_kwargs.items() if k not in _PRECISION}
    model = replace(
        spec.model,
        dtype="float32",
        quantization_config=None,
        torch_compile=False,
        resize_on_device=False,
        attn_implementation=None,  # some take no float32
        model_kwargs=kwargs,
    )
    if device is not None:
        model = replace(model, device=device, device_map=None)
    limits = replace(spec.limits, batch_size=1, batch_tokens=None, max_wait_ms=0.0)
    sharing = replace(spec.sharing, processes=processes)
    return replace(plan, spec=replace(spec, model=model, limits=limits, sharing=sharing))


class ReferenceFn(TableFn):
    """The step that computes tables, of which nothing is counted as work of the job."""

    @classmethod
    def of(cls, plan: TaskPlan) -> ReferenceFn:
        """That of a plan."""
        spec: Spec = plan.spec
        stages = (plan.preprocess, plan.postprocess)
        return cls(spec, True, plan.binding, *stages, for_engine=plan.for_engine, reuses=False)

    def answers(self, table: pa.Table) -> tuple[pa.Table | None, pa.Table | None]:
        """The rows of a table with their predictions, and the failure rows; None for neither."""
        with suspects.collected():  # the job has counted them
            self.start_bundle()
            results = [*self.process(table, WindowedValue(table, 0, (GlobalWindow(),)))]
            results += self.finish_bundle()
        good = [each.value for each in results if not isinstance(each, TaggedOutput)]
        bad = [each.value.value for each in results if isinstance(each, TaggedOutput)]
        counts, answered = metrics.counts(), sum(map(len, good))
        counts.read -= len(table)
        counts.answered -= answered
        return (good or [None])[0], (bad or [None])[0]

    def _failure(
        self, element: Any, error: BaseException, attempts: int = 1, stage: str | None = None
    ) -> beam.Row:
        """The failure row of an element: the job itself has answered it."""
        if is_fatal(error):
            raise error
        return failure(stage or self.stage, element, error, attempts)

    def _add_reports(self, reports: Sequence[Report]) -> None:
        """Its batches are not the job's."""

    def _count_times(self) -> None:
        """Nor is its time."""

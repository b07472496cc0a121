"""The three stages as transforms: wiring only."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.typehints import typehints

from . import model_handler
from .exceptions import WithFailures
from .forward import ForwardFn
from .plan import PlannedTask, TaskPlan, plan_of
from .postprocess import PostprocessFn
from .preprocess import PreprocessFn
from .record import Record
from .runner import worker_processes


class Preprocess(WithFailures):
    """The first stage of a task: elements to Records of features. Holds no weights.

    Args:
      task: the transform of the task.

    """

    def __init__(self, task: PlannedTask | TaskPlan) -> None:
        super().__init__()
        self._plan = plan_of(task)

    def expand(self, pcoll: Any) -> Any:
        """PCollection of elements to PCollection of Records."""
        plan = self._plan.pinned
        plan.binding.check(pcoll.element_type)
        binding = plan.binding.holding(pcoll.element_type)
        handles = self._tags is not None
        fn = PreprocessFn(plan.spec, handles, binding, plan.preprocess, for_engine=plan.for_engine)
        good, bad = self._apply(fn, pcoll, Record, into_stage=plan.is_whole)
        return self._outputs(good, bad)


class Forward(WithFailures):
    """The stage with the model: Records of features to Records of outputs.

    With `handler`, the engine runs one of Beam's ModelHandlers in place of a task's model:
    examples become its predictions, as with RunInference, but in batches that the engine forms
    across bundles, and with a failure row for the one example that makes a batch fail.

    ```python
    predictions, failed = vectors | Forward(handler=handler).with_exception_handling()
    ```

    Args:
      task: the transform of the task whose forward stage it is.
      handler: a ModelHandler in its place. Of its batching options, max_batch_size,
        max_batch_weight, element_size_fn and batch_length_fn say what a batch may hold. One model
        per worker process, and one batch at a time.
      inference_args: arguments of the handler's run_inference beside the examples.

    Raises:
      TypeError: neither a task nor a handler is given, or both; or an argument of another type.
      ValueError: the handler makes batches itself, has several models, or refuses inference_args.

    """

    def __init__(
        self,
        task: PlannedTask | TaskPlan | None = None,
        *,
        handler: Any = None,
        inference_args: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if (task is None) == (handler is None):
            raise TypeError("Forward takes a task's transform, or handler=…, and not both")
        if handler is None and inference_args is not None:
            raise TypeError("inference_args are for a handler; a task's parameters are its own")
        if handler is not None:
            model_handler.check_handler(handler, inference_args)
        self._plan = None if task is None else plan_of(task)
        self._handler = handler
        self._arguments = dict(inference_args or {})
        self._key = f"handler {uuid.uuid4().hex}"

    def expand(self, pcoll: Any) -> Any:
        """PCollection of Records to one of Records; with a handler, of examples to predictions."""
        handles, processes = self._tags is not None, worker_processes(pcoll.pipeline)
        if self._plan is None:
            fn: beam.DoFn = model_handler.HandlerFn(
                self._handler, self._arguments, self._key, handles, processes
            )
            hints, result_type = self._handler.get_resource_hints(), typehints.Any
            isolate = False
            sides: Mapping[str, Any] = {}
            into_stage = False
        else:
            plan = self._plan.pinned
            sharing = replace(plan.spec.sharing, processes=processes)
            fn = ForwardFn(replace(plan.spec, sharing=sharing), handles, plan.groups)
            hints, result_type = plan.placement.hints, Record
            isolate = plan.placement.isolate
            into_stage = plan.is_whole and plan.postprocess is None
            sides = side_inputs(plan.updates, pcoll.pipeline)
        good, bad = self._apply(
            fn, pcoll, result_type, hints, sides, into_stage=into_stage, isolate=isolate
        )
        return self._outputs(good, bad)


class Postprocess(WithFailures):
    """The last stage: Records of outputs to predictions. Holds no weights.

    Args:
      task: the transform of the task.

    """

    def __init__(self, task: PlannedTask | TaskPlan) -> None:
        super().__init__()
        self._plan = plan_of(task)

    def expand(self, pcoll: Any) -> Any:
        """PCollection of Records to PCollection of predictions."""
        plan = self._plan.pinned
        binding = plan.binding
        if isinstance(plan.preprocess, beam.PTransform):  # it has not checked the elements
            binding = binding.holding(plan.element_type)
        fn = PostprocessFn(plan.spec, self._tags is not None, binding, plan.postprocess)
        # Results are yielded one by one, with nothing left for the end of a bundle.
        result_type = binding.result_type(plan.element_type)
        good, bad = self._apply(fn, pcoll, result_type, into_stage=True)
        return self._outputs(good, bad)


def side_inputs(updates: Any, pipeline: beam.Pipeline) -> Mapping[str, Any]:
    """The side input that names the model that answers, if there is one."""
    if updates is None:
        return {}
    if isinstance(updates, str):
        from apache_beam.ml.inference.utils import WatchFilePattern

        updates = pipeline | "WatchModel" >> WatchFilePattern(updates)
    return {"update": beam.pvalue.AsSingleton(updates, default_value=None)}

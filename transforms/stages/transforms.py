"""The three stages as transforms: wiring only."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.ml.inference.utils import WatchFilePattern
from apache_beam.typehints import typehints

from . import model_handler
from .exceptions import WithFailures
from .forward import ForwardFn
from .postprocess import PostprocessFn
from .preprocess import PreprocessFn
from .record import Record
from .runner import worker_processes

if TYPE_CHECKING:
    from .task_transform import TaskTransform


class Preprocess(WithFailures):
    """The first stage of a task: elements to Records of features. Holds no weights."""

    def __init__(self, of: TaskTransform) -> None:
        super().__init__()
        self._of = of

    def expand(self, pcoll: Any) -> Any:
        """PCollection of elements to PCollection of Records."""
        of = self._of
        of._pin()
        of._binding.check(pcoll.element_type)
        function = of._custom["preprocess"]
        binding = of._binding.holding(pcoll.element_type)
        fn = PreprocessFn(of.spec, self._tags is not None, binding, function)
        good, bad = self._apply(fn, pcoll, Record)
        return self._outputs(good, bad)


class Forward(WithFailures):
    """The stage with the model: Records of features to Records of outputs.

    With `handler`, any of Beam's ModelHandlers sits in the engine in place of a task's model:
    examples to its predictions, as RunInference would give them, but in batches that the engine
    makes across bundles, and with a failure row for the one element that makes a batch fail.

    ```python
    found, failed = vectors | Forward(handler=handler).with_exception_handling()
    ```

    Args:
      of: the task whose forward stage it is.
      handler: a ModelHandler in its place. Of its batching options, max_batch_size,
        max_batch_weight, element_size_fn and batch_length_fn say what a batch may hold. One model
        per worker process, and one batch at a time.
      inference_args: what the handler's run_inference takes beside examples.

    Raises:
      TypeError: there is no task and no handler, or both; or what is none of them.
      ValueError: the handler makes batches itself, has several models, or refuses inference_args.

    """

    def __init__(
        self,
        of: TaskTransform | None = None,
        *,
        handler: Any = None,
        inference_args: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if (of is None) == (handler is None):
            raise TypeError("Forward takes a task's transform, or handler=…, and not both")
        if handler is None and inference_args is not None:
            raise TypeError("inference_args are for a handler; a task's parameters are its own")
        if handler is not None:
            model_handler.check(handler, inference_args)
        self._of = of
        self._handler = handler
        self._arguments = dict(inference_args or {})
        self._key = f"handler {uuid.uuid4().hex}"

    def expand(self, pcoll: Any) -> Any:
        """PCollection of Records to PCollection of Records; of examples to one of predictions."""
        handles, processes = self._tags is not None, worker_processes(pcoll.pipeline)
        if self._of is None:
            fn: beam.DoFn = model_handler.HandlerFn(
                self._handler, self._arguments, self._key, handles, processes
            )
            hints, result = self._handler.get_resource_hints(), typehints.Any
            sides: Mapping[str, Any] = {}
        else:
            self._of._pin()
            sharing = replace(self._of.spec.sharing, processes=processes)
            fn = ForwardFn(replace(self._of.spec, sharing=sharing), handles)
            hints, result = {}, Record
            sides = _sides(self._of._updates, pcoll.pipeline)
        good, bad = self._apply(fn, pcoll, result, hints, sides)
        return self._outputs(good, bad)


class Postprocess(WithFailures):
    """The last stage: Records of outputs to predictions. Holds no weights."""

    def __init__(self, of: TaskTransform) -> None:
        super().__init__()
        self._of = of

    def expand(self, pcoll: Any) -> Any:
        """PCollection of Records to PCollection of predictions."""
        of = self._of
        of._pin()
        binding = of._binding
        if isinstance(of._custom["preprocess"], beam.PTransform):  # which has checked no element
            binding = binding.holding(of._element_type)
        fn = PostprocessFn(of.spec, self._tags is not None, binding, of._custom["postprocess"])
        good, bad = self._apply(fn, pcoll, binding.result_type(of._element_type))
        return self._outputs(good, bad)


def _sides(updates: Any, pipeline: beam.Pipeline) -> Mapping[str, Any]:
    """The side input that says which model answers, if there is one."""
    if updates is None:
        return {}
    if isinstance(updates, str):
        updates = pipeline | "WatchModel" >> WatchFilePattern(updates)
    return {"update": beam.pvalue.AsSingleton(updates, default_value=None)}

"""The three stages as transforms: wiring only."""

from __future__ import annotations

import collections
import copy
import os
import types
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import apache_beam as beam
from apache_beam.ml.inference.utils import WatchFilePattern
from apache_beam.options.pipeline_options import DirectOptions, PortableOptions
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner, SwitchingDirectRunner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.typehints import typehints

from . import handlers
from .failures import failure_type
from .forward import ForwardFn
from .record import Record
from .stages import FAILED, PostprocessFn, PreprocessFn

if TYPE_CHECKING:
    from .transform import TaskTransform

#: They run in this process unless told otherwise.
_LOCAL_RUNNERS = (FnApiRunner, SwitchingDirectRunner, BundleBasedDirectRunner)
_NONE: Mapping[str, Any] = types.MappingProxyType({})


class Handling(beam.PTransform):  # type: ignore[misc]
    """A transform that can give failure rows beside its results."""

    _tags: tuple[str, str] | None = None

    def with_exception_handling(self, main_tag: str = "good", dead_letter_tag: str = "bad") -> Self:
        """The same transform giving (good, bad): results, and a row for each failed element.

        Rows have the columns element, stage, kind (data, memory, timeout or crash), error (the
        exception's type), message, traceback and attempts.
        """
        copied = copy.copy(self)
        copied._tags = (main_tag, dead_letter_tag)
        return copied

    def _outputs(self, good: Any, bad: list[Any]) -> Any:
        """What `expand` returns: the results alone, or results and failures."""
        if self._tags is None:
            return good
        for rows in bad:
            rows.element_type = failure_type()
        all_bad = bad[0] if len(bad) == 1 else tuple(bad) | "Failures" >> beam.Flatten()
        all_bad.element_type = failure_type()
        named: Any = collections.namedtuple  # the names are only known now
        return named("Results", self._tags)(good, all_bad)

    def _apply(
        self,
        fn: beam.DoFn,
        pcoll: Any,
        result_type: Any,
        hints: Mapping[str, Any] = _NONE,
        sides: Mapping[str, Any] = _NONE,
    ) -> tuple[Any, list[Any]]:
        """A stage's DoFn on a PCollection: its results, and its failures if asked for."""
        step = beam.ParDo(fn, **sides).with_resource_hints(**hints)
        if self._tags is None:
            return pcoll | "Run" >> step.with_output_types(result_type), []
        outputs = pcoll | "Run" >> step.with_outputs(FAILED, main="main")
        good, bad = outputs["main"], outputs[FAILED]
        good.element_type = result_type
        return good, [bad]


class Preprocess(Handling):
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


class Forward(Handling):
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
            handlers.check(handler, inference_args)
        self._of = of
        self._handler = handler
        self._arguments = dict(inference_args or {})
        self._key = f"handler {uuid.uuid4().hex}"

    def expand(self, pcoll: Any) -> Any:
        """PCollection of Records to PCollection of Records; of examples to one of predictions."""
        handles, processes = self._tags is not None, _processes(pcoll.pipeline)
        if self._of is None:
            fn: beam.DoFn = handlers.HandlerFn(
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


class Postprocess(Handling):
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


def _processes(pipeline: beam.Pipeline) -> int | None:
    """How many worker processes the pipeline's runner has on a machine. None: it does not say."""
    options = pipeline.options
    if options.view_as(PortableOptions).environment_type == "LOOPBACK":
        return 1
    if not isinstance(pipeline.runner, _LOCAL_RUNNERS):
        return None
    direct = options.view_as(DirectOptions)
    if direct.direct_running_mode != "multi_processing":
        return 1
    return direct.direct_num_workers or os.cpu_count()


def _sides(updates: Any, pipeline: beam.Pipeline) -> Mapping[str, Any]:
    """The side input that says which model answers, if there is one."""
    if updates is None:
        return {}
    if isinstance(updates, str):
        updates = pipeline | "WatchModel" >> WatchFilePattern(updates)
    return {"update": beam.pvalue.AsSingleton(updates, default_value=None)}

"""A task for Beam's own RunInference: the same options, features, batches and answers."""

from __future__ import annotations

import inspect
import operator
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from ..engine.errors import is_fatal
from ..engine.reports import Report
from ..engine.tickets import Parameters
from ..options import metrics_namespace
from ..options.late import import_libraries
from ..options.sizes import nbytes
from ..options.spec import Spec
from ..pipelines.construction_lock import computing
from ..rows.binding import Binding
from ..tasks import find
from ..weights import hub
from . import metrics
from .engine_loop import EngineLoop
from .failure_rows import ElementError, failure
from .model_updates import requested_model, version_spec
from .plan import TaskPlan
from .record import Record
from .record_pipeline import MOST_PREFETCHED, RecordPipeline
from .task_options import (
    default_model,
    media_limits,
    model_spec,
    part_rows_from_parameters,
    read_response_format,
    task_plan,
)
from .task_transform import TaskTransform, options_of
from .window import InFlightWindow

_NONE: Mapping[str, float] = MappingProxyType({})
#: Options of a TaskTransform that RunInference has in another form: what to use instead.
ALTERNATIVES = {
    "model_metadata_pcoll": "use RunInference's model_metadata_pcoll",
    "watch_model_pattern": "use RunInference's watch_model_pattern",
    "keyed": "wrap the handler in Beam's KeyedModelHandler",
    "input": "use the handler's with_preprocess_fn",
    "prompt": "use the handler's with_preprocess_fn",
    "messages": "use the handler's with_preprocess_fn",
    "output": "use the handler's with_postprocess_fn",
    "preprocess": "use the handler's with_preprocess_fn",
    "postprocess": "use the handler's with_postprocess_fn",
    "error_handling": "use RunInference's with_exception_handling",
    "share": "use large_model or model_copies",
    "max_device_memory": "use the task's transform: models of RunInference stay loaded",
    "batch_timeout": "use RunInference's with_exception_handling(timeout=…)",
    "engine": "use the task's transform: vLLM forms no batches",
    "engine_options": "use the task's transform: vLLM forms no batches",
    "isolate": "use beam.Reshuffle() before and after RunInference",
    "accelerator": "use RunInference's with_resource_hints",
    "min_ram": "use RunInference's with_resource_hints",
}


#: Options of a TaskTransform that this handler takes, beside `model`.
SUPPORTED = frozenset(
    {
        "allow_random_weights",
        "attn_implementation",
        "batch_size",
        "batch_tokens",
        "device",
        "device_map",
        "dtype",
        "json_chats",
        "max_wait_ms",
        "media_limits",
        "model_kwargs",
        "processor",
        "quantization_config",
        "resize_on_device",
        "revision",
        "tokenizer",
        "torch_compile",
        "trust_remote_code",
    }
)


class TaskModelHandler(ModelHandler):  # type: ignore[misc]
    """A task as a ModelHandler of Beam's RunInference.

    ```python
    texts | RunInference(TaskModelHandler("sentiment-analysis", "distilbert/…", truncation=True))
    ```

    Examples become `PredictionResult(example, inference, model_id)`, where `inference` is what
    `transformers.pipeline(task, model)(example, **parameters)` returns. RunInference forms
    batches; from each, the engine forms those that the model computes, without the padding that
    mixed lengths cause. RunInference's `inference_args` are parameters of the task, and override
    the handler's own. The model is checked when the pipeline is built.

    RunInference's `with_exception_handling` gives up the whole batch that has a bad example.
    With `return_failures=True` the other examples are answered, and the `inference` of the bad
    one is a `beam.Row` with the columns of a failure row: element, stage, kind, error, message,
    traceback, attempts. The task's transform has failures in an output of their own, and batches
    across bundles: prefer it where RunInference is not needed.

    Args:
      task: the name of the task in `transformers.pipeline`.
      model: a Hugging Face model id, a local directory or a URI, as TaskTransform takes it.
      min_batch_size, max_batch_size, max_batch_duration_secs, element_size_fn: how many examples
        RunInference passes at once. With more examples the engine has more to choose from.
      large_model: one model for all processes of a machine, by Beam's MultiProcessShared.
      model_copies: the number of models for all processes of a machine.
      env_vars: environment variables, set before the model is loaded.
      return_failures: return failures as inferences instead of raising them.
      **options: those of TaskTransform, except for rows and stages; the task's own parameters.

    Raises:
      ValueError: an option or parameter has an invalid value.
      TypeError: an option or parameter does not exist, or is missing.
      FileNotFoundError: a local model does not exist.

    """

    def __init__(
        self,
        task: str,
        model: str | None = None,
        *,
        min_batch_size: int | None = None,
        max_batch_size: int | None = None,
        max_batch_duration_secs: int | None = None,
        element_size_fn: Callable[[Any], int] | None = None,
        large_model: bool = False,
        model_copies: int | None = None,
        env_vars: Mapping[str, str] | None = None,
        return_failures: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            min_batch_size=min_batch_size,
            max_batch_size=max_batch_size,
            max_batch_duration_secs=max_batch_duration_secs,
            element_size_fn=element_size_fn,
            large_model=large_model,
            model_copies=model_copies,
            env_vars=dict(env_vars or {}),
        )
        for name in options.keys() - find(task).parameters.keys():
            if name in ALTERNATIVES:
                raise TypeError(f"TaskModelHandler has no option {name!r}: {ALTERNATIVES[name]}")
            if name in options_of(TaskTransform) and name not in SUPPORTED:
                raise TypeError(
                    f"TaskModelHandler has no option {name!r}: only the transform of the task has"
                )
        plan = _plan(task, model, options)
        self._spec = plan.spec
        self._first = self._spec.model
        self._binding = plan.binding
        self._media_limits = options.get("media_limits") or {}
        self._return_failures = return_failures

    def validate_inference_args(self, inference_args: Mapping[str, Any] | None) -> None:
        """Check the arguments and the model; RunInference calls it while the pipeline is built.

        Only here is it known whether a required parameter is missing.

        From here on the model's revision is the commit that it is now.
        """
        self._first = hub.pinned(self._spec.model)
        self._spec = replace(self._spec, model=self._first)
        parameters = {**self._spec.parameters, **(inference_args or {})}
        self._binding.task.check_parameters(parameters)
        limits = media_limits(self._media_limits, parameters)
        import_libraries()
        from . import preflight

        preflight.check_task(replace(self._spec, parameters=parameters, media_limits=limits))

    def load_model(self) -> TaskModel:
        """The model on its device. Raises ModelLoadError."""
        return TaskModel(self._spec, self._binding, self._media_limits)

    def run_inference(
        self,
        batch: Sequence[Any],
        model: TaskModel,
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterator[PredictionResult]:
        """The predictions of the examples, in their order. Safe for use by several threads."""
        examples = list(batch)
        arguments = dict(inference_args or {})
        model_id, inferences, reports = model.infer(examples, arguments, self._return_failures)
        metrics.EngineMetrics().add(reports)
        for inference in inferences:
            if isinstance(inference, beam.Row):
                metrics.count_failure(inference.kind)
        return map(PredictionResult, examples, inferences, [model_id] * len(inferences))

    def update_model_path(self, model_path: str | None = None) -> None:
        """Load another model from now on.

        Args:
          model_path: its id, directory or URI, or the path of a .json or .safetensors file in it,
            as RunInference's `watch_model_pattern` finds them.

        """
        model = requested_model(model_path)
        if model is not None:
            self._spec = replace(self._spec, model=version_spec(self._first, model))

    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """Bytes of the texts, files and arrays in a batch."""
        return nbytes(list(batch))

    def get_metrics_namespace(self) -> str:
        """The namespace of RunInference's metrics: that of the transforms."""
        return metrics_namespace.NAMESPACE


def _plan(name: str, model: str | None, given: Mapping[str, Any]) -> TaskPlan:
    """The plan of a task, whose parameters may be given later, as inference_args."""
    bound = inspect.signature(TaskTransform).bind(model, **given)
    bound.apply_defaults()
    options = bound.arguments
    read_response_format(name, options["parameters"])
    part_rows_from_parameters(name, options)
    task = find(name)
    task.check_parameters(options["parameters"], options_of(TaskTransform), complete=False)
    if model is None:
        options |= default_model(task.name, options["revision"])
    return task_plan(model_spec(task.name, options), task, options)


class TaskModel:
    """A task's loaded model with an engine of its own; safe for use by several threads.

    `infer` is its only method: Beam may keep the object in another process.
    """

    def __init__(
        self, spec: Spec, binding: Binding, media_limits: Mapping[str, float] = _NONE
    ) -> None:
        self._spec = spec
        self._binding = binding
        self._media_limits = media_limits
        self._parameters = Parameters(spec.parameters)
        import_libraries()
        from ..batching.replica import Replica
        from ..engine.engine import Engine

        replica = Replica(spec.model)
        self._engine = Engine(lambda: replica, spec.limits, spec.model.source)
        #: Weightless pipelines that no thread is using, with the keys of their parameters.
        self._idle: list[tuple[str, RecordPipeline]] = []
        self._output_bytes: float | None = None
        # Beam does not say when it no longer needs a model: it only drops the object.
        weakref.finalize(self, self._engine.stop).atexit = False

    def infer(
        self, examples: list[Any], arguments: Mapping[str, Any], return_failures: bool
    ) -> tuple[str, list[Any], list[Report]]:
        """The model's id; the inference or failure row of each example; the engine's reports.

        Raises ElementError for the first example that fails, unless `return_failures`.
        """
        parameters, binding = self._parameters, self._binding
        if arguments:
            parameters = Parameters({**parameters, **arguments})
            binding = replace(binding, parameters=parameters)
        pipeline = self._take_pipeline(parameters)
        session = self._engine.session(parameters)
        in_flight = InFlightWindow(session, self._spec.limits, self._output_bytes)
        try:
            loop = _BatchLoop(pipeline, self._spec.task, binding, in_flight, return_failures)
            return self._spec.model.source, loop.inferences(examples), loop.reports
        finally:
            in_flight.cancel()
            self._output_bytes = in_flight.output_bytes
            self._idle.append((parameters.key, pipeline))

    def _take_pipeline(self, parameters: Parameters) -> RecordPipeline:
        """A pipeline for this thread alone: a tokenizer is not safe for several."""
        idle = self._idle
        for _ in range(len(idle)):
            try:
                key, pipeline = idle.pop()
            except IndexError:  # another thread was faster
                break
            if key == parameters.key:
                return pipeline
            idle.insert(0, (key, pipeline))
        limits = media_limits(self._media_limits, parameters)
        spec = replace(self._spec, parameters=parameters, media_limits=limits)
        return RecordPipeline(spec, self._binding.task, for_engine=True)


@dataclass(slots=True)
class _Numbered:
    """An example of a batch, what is kept of it, or its inference; with the example's index."""

    index: int
    value: Any

    def with_value(self, value: Any) -> _Numbered:
        return _Numbered(self.index, value)


class _BatchLoop(EngineLoop):
    """The examples of one batch on their way through the engine."""

    def __init__(
        self,
        pipeline: RecordPipeline,
        task_name: str,
        binding: Binding,
        in_flight: InFlightWindow,
        return_failures: bool,
    ) -> None:
        self._pipeline = pipeline
        self._task_name = task_name
        self._binding = binding
        self._in_flight: InFlightWindow = in_flight
        self._return_failures = return_failures
        #: The engine's reports of this batch.
        self.reports: list[Report] = []

    def inferences(self, examples: list[Any]) -> list[Any]:
        """The inference or failure row of each example, in their order."""
        results: list[_Numbered] = []
        for i, example in enumerate(examples):
            if i % MOST_PREFETCHED == 0 and not self._binding.task.media:
                self._pipeline.prefetch(examples[i : i + MOST_PREFETCHED])
            results += self._submit(_Numbered(i, example))
        results += self._drain()
        results.sort(key=operator.attrgetter("index"))
        return [result.value for result in results]

    def _features(self, element: Any) -> tuple[Record, list[Any], int]:
        example = self._binding.example(element)
        decoded_example = self._pipeline.decode(example)
        with computing:
            record = self._pipeline.record(element, example, decoded_example)
        return record, list(record.chunks), record.nbytes

    def _result(self, kept: Record, outputs: list[Any]) -> Any:
        kept.chunks = outputs
        return self._pipeline.inference(kept)

    def _element(self, kept: Record) -> Any:
        return kept.element

    def _add_reports(self, reports: Sequence[Report]) -> None:
        self.reports += reports

    def _failed(
        self,
        element: Any,
        place: _Numbered,
        error: BaseException,
        attempts: int = 1,
        stage: str | None = None,
    ) -> _Numbered:
        stage = stage or "forward"
        if is_fatal(error):
            raise error
        if not self._return_failures:
            raise ElementError.of(self._task_name, stage, element, error) from error
        return place.with_value(failure(stage, element, error, attempts))

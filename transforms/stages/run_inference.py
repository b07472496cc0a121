"""A task for Beam's own RunInference: the same options, features, batches and answers."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from ..batching.replica import Replica
from ..engine import reports as reports_module
from ..engine.engine import Engine
from ..engine.errors import contained, is_fatal
from ..engine.tickets import Parameters, Ticket
from ..media.decoding import decoded, stand_in
from ..options import metrics_namespace
from ..options.sizes import nbytes
from ..options.spec import Spec
from ..pipelines.construction_lock import computing
from ..pipelines.factory import weightless
from ..pipelines.split_call import SplitPipeline
from ..rows.binding import Binding
from ..weights import hub
from . import metrics, preflight
from .failure_rows import ElementError, failure
from .model_updates import model_of, version
from .record import Record
from .task_transform import TaskTransform, options_of
from .window import InFlightWindow

_PREFETCHED = 64  # a tokenizer gains nothing from more

#: Options of a TaskTransform that RunInference has in a form of its own.
_ELSEWHERE = {
    "model_metadata_pcoll": "use RunInference's model_metadata_pcoll",
    "watch_model_pattern": "use RunInference's watch_model_pattern",
    "keyed": "wrap the handler in Beam's KeyedModelHandler",
    "input": "use the handler's with_preprocess_fn",
    "output": "use the handler's with_postprocess_fn",
    "preprocess": "use the handler's with_preprocess_fn",
    "postprocess": "use the handler's with_postprocess_fn",
    "error_handling": "use RunInference's with_exception_handling",
    "share": "use large_model or model_copies",
    "batch_timeout": "use RunInference's with_exception_handling(timeout=…)",
}


#: Options of a TaskTransform that this handler honours, beside `model`.
HONOURED = frozenset(
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
    `transformers.pipeline(task, model)(example, **parameters)` returns. RunInference makes
    batches; within each, the engine makes those that the model sees, without the padding that
    comes of mixed lengths. RunInference's `inference_args` are the task's parameters, too, and
    come before the handler's own. The model is checked when the pipeline is built.

    RunInference's `with_exception_handling` gives up the whole batch that a bad example is in.
    With `return_failures=True` the others are answered, and the bad one's `inference` is a
    `beam.Row` with the columns of a failure row: element, stage, kind, error, message, traceback,
    attempts. The transform of the task gives them apart, and batches across bundles, too: prefer
    it where RunInference is not needed.

    Args:
      task: the task's name, as `transformers.pipeline` names it.
      model: a Hugging Face model id, a local directory or a URI, as TaskTransform takes it.
      min_batch_size, max_batch_size, max_batch_duration_secs, element_size_fn: how many examples
        RunInference hands over at once. More give the engine more to choose from.
      large_model: one model for the processes of a machine, by Beam's MultiProcessShared.
      model_copies: so many models for the processes of a machine.
      env_vars: environment variables, set before the model is loaded.
      return_failures: give failures as inferences instead of raising them.
      **options: those of TaskTransform, but for the ones of rows and of stages; the task's own
        parameters.

    Raises:
      ValueError: an option or parameter has a value that cannot be right.
      TypeError: an option or parameter does not exist, or is missing.
      FileNotFoundError: a local model is not there.

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
        for name in options:
            if name in _ELSEWHERE:
                raise TypeError(f"TaskModelHandler has no option {name!r}: {_ELSEWHERE[name]}")
            if name in options_of(TaskTransform) and name not in HONOURED:
                raise TypeError(
                    f"TaskModelHandler has no option {name!r}: only the transform of the task has"
                )
        transform = TaskTransform(model, task=task, **options)
        self._spec = transform.spec
        self._first = self._spec.model
        self._binding = transform._binding
        self._return_failures = return_failures

    def validate_inference_args(self, inference_args: Mapping[str, Any] | None) -> None:
        """What RunInference asks when the pipeline is built: these, and the model, are checked.

        From here on the model is the commit that its revision is now.
        """
        self._first = hub.pinned(self._spec.model)
        self._spec = replace(self._spec, model=self._first)
        parameters = {**self._spec.parameters, **(inference_args or {})}
        self._binding.task.check_parameters(parameters)
        preflight.check(replace(self._spec, parameters=parameters))

    def load_model(self) -> TaskModel:
        """The model on its device. Raises ModelLoadError."""
        return TaskModel(self._spec, self._binding)

    def run_inference(
        self,
        batch: Sequence[Any],
        model: TaskModel,
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterator[PredictionResult]:
        """The predictions of the examples, in their order. May be called from several threads."""
        examples = list(batch)
        arguments = dict(inference_args or {})
        model_id, found, reports = model.infer(examples, arguments, self._return_failures)
        metrics.EngineMetrics().add(reports)
        for inference in found:
            if isinstance(inference, beam.Row):
                metrics.count_failure(inference.kind)
        return map(PredictionResult, examples, found, [model_id] * len(found))

    def update_model_path(self, model_path: str | None = None) -> None:
        """Load another model from now on.

        Its id, its directory or URI, or those of a .json or .safetensors file in it, as
        RunInference's `watch_model_pattern` finds them.
        """
        model = model_of(model_path)
        if model is not None:
            self._spec = replace(self._spec, model=version(self._first, model))

    def get_num_bytes(self, batch: Sequence[Any]) -> int:
        """Bytes of the texts, files and arrays in a batch."""
        return nbytes(list(batch))

    def get_metrics_namespace(self) -> str:
        """Where RunInference's metrics are: beside those of the transforms."""
        return metrics_namespace.NAMESPACE


class TaskModel:
    """A task's model, loaded, with an engine of its own; safe for use by several threads.

    `infer` is its only method, since Beam may keep it in another process.
    """

    def __init__(self, spec: Spec, binding: Binding) -> None:
        self._spec = spec
        self._binding = binding
        self._parameters = Parameters(spec.parameters)
        replica = Replica(spec.model)
        self._engine = Engine(lambda: replica, spec.limits, spec.model.source)
        #: Pipelines without weights that no thread is using, by their parameters.
        self._calls: list[tuple[str, SplitPipeline]] = []
        self._answer_bytes: float | None = None
        # Beam tells nobody that it is done with a model: it forgets it.
        weakref.finalize(self, self._engine.stop).atexit = False

    def infer(
        self, examples: list[Any], arguments: Mapping[str, Any], return_failures: bool
    ) -> tuple[str, list[Any], list[reports_module.Report]]:
        """The model's id, for each example its inference or the row of its failure, and reports.

        Raises ElementError for the first that fails, unless rows are asked for.
        """
        parameters = self._parameters
        if arguments:
            parameters = Parameters({**parameters, **arguments})
        call = self._take(parameters)
        session = self._engine.session(parameters)
        flight = InFlightWindow(session, self._spec.limits, self._answer_bytes)
        try:
            work = _Work(call, self._spec, self._binding, flight, return_failures)
            return self._spec.model.source, work.answers(examples), work.reports
        finally:
            flight.cancel()
            self._answer_bytes = flight.answer_bytes
            self._calls.append((parameters.key, call))

    def _take(self, parameters: Parameters) -> SplitPipeline:
        """A pipeline for one thread: a tokenizer is not safe for two."""
        calls = self._calls
        for _ in range(len(calls)):
            try:
                found, call = calls.pop()
            except IndexError:  # another thread was faster
                break
            if found == parameters.key:
                return call
            calls.insert(0, (found, call))
        return SplitPipeline(weightless(self._spec.model), parameters)


class _Work:
    """The examples of one batch on their way through the engine."""

    def __init__(
        self,
        call: SplitPipeline,
        spec: Spec,
        binding: Binding,
        flight: InFlightWindow,
        return_failures: bool,
    ) -> None:
        self._call = call
        self._spec = spec
        self._binding = binding
        self._flight = flight
        self._return_failures = return_failures
        #: What the engine has done meanwhile.
        self.reports: list[reports_module.Report] = []

    def answers(self, examples: list[Any]) -> list[Any]:
        """What each example gives, in their order."""
        found: dict[int, Any] = {}
        for i, example in enumerate(examples):
            if i % _PREFETCHED == 0 and not self._binding.task.media:
                texts = examples[i : i + _PREFETCHED]
                self._call.prefetch([text for text in texts if type(text) is str])
            try:
                with contained:
                    record = self._preprocess(example)
            except Exception as error:
                found[i] = self._failed("preprocess", example, error)
            else:
                self._flight.submit((i, record), list(record.chunks), record.nbytes)
            while self._flight.ready:
                found.update([self._collect(self._flight.take())])
        while self._flight.count:
            found.update([self._collect(self._flight.take())])
        return [found[i] for i in range(len(examples))]

    def _preprocess(self, example: Any) -> Record:
        task = self._binding.task
        value = self._binding.example(example)
        ready = decoded(value, task, self._call.pipe, self._spec.media_limits)
        with computing:
            chunks, counts = self._call.preprocess(ready)
        return Record(example, stand_in(value, task), chunks, counts)

    def _collect(self, ticket: Ticket) -> tuple[int, Any]:
        i, record = ticket.token
        self.reports += ticket.reports
        if ticket.error is not None:
            return i, self._failed("forward", record.element, ticket.error, ticket.attempts)
        try:
            with contained, computing:
                return i, self._call.postprocess(record.example, ticket.outputs, record.counts)
        except Exception as error:
            return i, self._failed("postprocess", record.element, error)

    def _failed(self, stage: str, example: Any, error: BaseException, attempts: int = 1) -> Any:
        if is_fatal(error):
            raise error
        if not self._return_failures:
            raise ElementError.of(self._spec.task, stage, example, error) from error
        return failure(stage, example, error, attempts)

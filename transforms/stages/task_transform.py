"""The transforms that users put into their pipelines: one for every task."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, Self, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints import typehints

from ..options.media_limits import MediaLimits
from ..options.shown import shown
from ..options.spec import Limits, ModelSpec, Sharing, Spec
from ..options.suggest import unknown
from ..pipelines.custom import returned_type, task_of, values
from ..rows.binding import Binding
from ..tasks import Task, canonical, find
from ..weights import hub
from . import functions, preflight
from .exceptions import WithFailures
from .transforms import Forward, Postprocess, Preprocess

#: A function in place of a stage's own, or its name; or a transform in place of the stage.
Custom: TypeAlias = "Callable[[Any], Any] | beam.PTransform | str"


class TaskTransform(WithFailures):
    """One task as a transform. `pipeline(task, …)` makes one; so does each task's own class.

    ```python
    scored = texts | TextClassification(model="distilbert/…", truncation=True)
    rows = reviews | TextClassification(model="distilbert/…", input="text")
    ```

    A PCollection of plain inputs becomes one of Beam's `PredictionResult(example, inference,
    model_id)`, where `inference` is what `transformers.pipeline(task, model)(example,
    **parameters)` returns. With `input`, a PCollection of rows becomes one of rows with the
    prediction's columns beside their own.

    Args:
      model: a Hugging Face model id, a local directory, or the URI of a directory that fsspec
        reads (s3://…, gs://…), which is copied once per machine. None: Hugging Face's default for
        the task, with a warning that names it.
      tokenizer, processor: another source for them than the model's; a Hugging Face id may have
        a revision of its own, as in "organisation/name@revision".
      revision: branch, tag or commit of the model's repository: the commit that it is when the
        pipeline is built is what every worker loads.
      device: None for the best device of the worker, -1 or "cpu", 0, "cuda:1", "mps". A worker
        that does not have the one that is named ends the job.
      dtype: "auto" (as saved), "float32", "bfloat16" or "float16".
      attn_implementation: "sdpa", "eager", "flash_attention_2", …
      device_map: in place of `device`, "auto" or a mapping from modules to devices: for a model
        that does not fit on one. Needs accelerate.
      torch_compile: True, or keywords for torch.compile, such as {"mode": "max-autotune"}. One
        program serves batches of all shapes, unless the keywords say otherwise.
      quantization_config: one of transformers', or a mapping such as {"quant_method": "quanto",
        "weights": "int8"}.
      model_kwargs: more keywords for `from_pretrained`.
      trust_remote_code: run Python code from the model's repository.
      allow_random_weights: answer although the checkpoint lacks weights that the task reads, which
        are random then. Without it, such a model ends the job before the first answer.
      batch_size: most chunks in a batch. None: chosen by the engine.
      batch_tokens: most tokens in a batch, padding included; of images and sounds, 768 numbers
        count as one. None: chosen by the engine.
      share: "process": each worker process loads the model. "machine": all processes of a machine
        share one, in a process of its own for each accelerator. "auto": the latter where there
        are several worker processes, or an accelerator.
      batch_timeout: seconds that a batch may take. One that takes longer is ended with its
        process, and its elements run alone; an element that times out again on its own fails.
      max_wait_ms: how long a batch may wait for elements from other bundles, which it does only for
        bundles that were answered a moment ago. 0: never.
      media_limits: how large images, audio and video may be, where the defaults do not fit:
        {"image_pixels": 200_000_000}; and how many URIs are fetched at once. See MediaLimits for
        the names.
      keyed: elements are (key, value) pairs, and so are the results.
      input: the column of the rows that holds the input; for a task with several inputs a
        mapping from their names to columns.
      output: one column for the whole prediction, of this name.
      json_chats: for tasks that take chats: whether a string that holds a chat in JSON is that chat
        (True), or a prompt (False). None: it is refused.
      model_metadata_pcoll: a PCollection of Beam's ModelMetadata that says which model answers from
        then on, as in RunInference. Each is loaded beside the last and takes over between batches;
        its tokenizer must be the first one's. Predictions, and rows in a column, have the model_id.
      watch_model_pattern: a file pattern in place of it: the newest file that matches lies in the
        directory of the model. Streaming only.
      preprocess: in place of the first stage: a function from an input to the model's features
        (one mapping, or a list of them), or a PTransform that gives Records.
      postprocess: in place of the last stage: a function from the model's outputs to the
        inference, or a PTransform that takes Records. Functions may be given by their names, as
        "module.function", of a module that the workers can import.
      error_handling: Beam YAML's {output: name}; in Python, `with_exception_handling()`.
      **parameters: the task's own, under Hugging Face's names.

    Raises:
      ValueError: an option or parameter has a value that cannot be right.
      ValueError: an option that nothing would read beside the others.
      TypeError: a parameter does not exist for this task, or is missing; postprocess is annotated
        with a type that no column can have.
      FileNotFoundError: a local model is not there.

    """

    #: The task, for a class of its own.
    task: ClassVar[str] = ""

    def __init__(
        self,
        model: str | None = None,
        *,
        tokenizer: str | None = None,
        processor: str | None = None,
        revision: str | None = None,
        device: int | str | None = None,
        dtype: str = "auto",
        attn_implementation: str | None = None,
        device_map: str | Mapping[str, int | str] | None = None,
        torch_compile: bool | Mapping[str, Any] = False,
        quantization_config: Any = None,
        model_kwargs: Mapping[str, Any] | None = None,
        trust_remote_code: bool = False,
        allow_random_weights: bool = False,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        share: str = "auto",
        batch_timeout: float | None = None,
        max_wait_ms: float = Limits.max_wait_ms,
        media_limits: Mapping[str, float] | None = None,
        keyed: bool = False,
        input: str | Mapping[str, str] | None = None,
        output: str | None = None,
        json_chats: bool | None = None,
        model_metadata_pcoll: Any = None,
        watch_model_pattern: str | None = None,
        preprocess: Custom | None = None,
        postprocess: Custom | None = None,
        error_handling: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__()
        preprocess = functions.resolved("preprocess", preprocess)
        postprocess = functions.resolved("postprocess", postprocess)
        name = parameters.pop("task", None) or self.task
        self._check_task(name, model, parameters)
        if model is None:
            model, revision = _default_model(name, revision)
        loaded = self._resolved(
            ModelSpec(
                task=name,
                source=model,
                revision=revision,
                tokenizer=tokenizer,
                processor=processor,
                device=device,
                dtype=dtype,
                attn_implementation=attn_implementation,
                device_map=device_map,
                torch_compile=torch_compile,
                quantization_config=quantization_config,
                model_kwargs={} if model_kwargs is None else model_kwargs,
                trust_remote_code=trust_remote_code,
                allow_random_weights=allow_random_weights,
            )
        )
        found = task_of(loaded)
        found.check_parameters(parameters, options_of(type(self)))
        _check_used(
            found,
            (preprocess, postprocess),
            media_limits=media_limits,
            input=input,
            output=output,
            keyed=keyed,
        )
        self.spec = Spec(
            model=loaded,
            parameters=parameters,
            limits=Limits(
                batch_size=batch_size, batch_tokens=batch_tokens, max_wait_ms=max_wait_ms
            ),
            media_limits=_media_limits(media_limits or {}, parameters),
            sharing=Sharing(share=share, timeout=batch_timeout),
        )
        if callable(postprocess) and not isinstance(postprocess, beam.PTransform):
            found = replace(found, **_custom_columns(postprocess, of_rows=input is not None))
        self._updates = _updates(model_metadata_pcoll, watch_model_pattern)
        self._binding = Binding(
            task=found,
            parameters=parameters,
            keyed=keyed,
            input=input,
            output=output,
            versioned=self._updates is not None,
            json_chats=json_chats,
        )
        self._custom: dict[str, Any] = {"preprocess": preprocess, "postprocess": postprocess}
        self._element_type: Any = typehints.Any
        self._is_pinned = False
        if error_handling:
            self._tags = ("good", _error_output(error_handling))

    def _check_task(self, name: str, model: str | None, parameters: Mapping[str, Any]) -> None:
        """Raises for a task that does not exist, or cannot be asked without a model."""
        find(name).check_parameters(parameters, options_of(type(self)))

    def _resolved(self, spec: ModelSpec) -> ModelSpec:
        """The same, by the name that the pipeline is built with."""
        return replace(spec, task=canonical(spec.task))

    def default_label(self) -> str:
        """The task's name in CamelCase."""
        return self._binding.task.transform

    def schema(self, input_schema: pa.Schema | None = None) -> pa.Schema:
        """The pyarrow schema of the output rows, given that of the input rows.

        ```python
        scored | WriteToParquet("scored/part", schema=scorer.schema(pq.read_schema(path)))
        ```

        Raises ValueError for input rows that the task cannot answer: without the input's column,
        with one of a type that it cannot read, or with a column of the prediction's.
        """
        return self._binding.schema(input_schema)

    def expand(self, pcoll: Any) -> Any:
        """The three stages, one after the other."""
        self._pin()
        preflight.check(self.spec, [name for name, own in self._custom.items() if own is not None])
        of = copy.copy(self)
        of._element_type = pcoll.element_type
        bad: list[Any] = []
        for stage in (Preprocess, Forward, Postprocess):
            pcoll = self._add(stage, of, pcoll, bad)
        return self._outputs(pcoll, bad)

    def _pin(self) -> None:
        """Resolve the model's revision to a commit, once for all stages and pipelines."""
        if not self._is_pinned:
            self.spec = replace(self.spec, model=hub.pinned(self.spec.model))
            self._is_pinned = True

    def _add(self, stage: type[WithFailures], of: Self, pcoll: Any, bad: list[Any]) -> Any:
        label = stage.__name__
        custom = self._custom.get(label.lower())
        if isinstance(custom, beam.PTransform):
            return pcoll | label >> custom
        transform = stage(of)
        if self._tags is None:
            return pcoll | label >> transform
        good, failed = pcoll | label >> transform.with_exception_handling()
        bad.append(failed)
        return good


#: The options that most jobs have.
_COMMON = ("model", "device", "dtype", "batch_size", "input", "output", "keyed", "tokenizer")


def options_of(cls: Any) -> tuple[str, ...]:
    """The names of a transform's options, common ones first: what is no parameter of its task."""
    found = dict.fromkeys(_COMMON)
    for each in (TaskTransform, cls):
        taken = inspect.signature(each).parameters.values()
        found |= {item.name: None for item in taken if item.kind is not item.VAR_KEYWORD}
    return tuple(found)


def _check_used(task: Task, stages: tuple[Any, Any], **given: Any) -> None:
    """Raises ValueError for an option that nothing would read.

    stages: what the user has in place of preprocess and postprocess.
    """
    first, last = (isinstance(stage, beam.PTransform) for stage in stages)
    idle: dict[str, str] = {}
    if last:
        idle["output"] = "postprocess is a transform of your own, which names its columns itself"
    if first and last:
        own = "preprocess and postprocess are transforms of your own, which read the elements"
        idle |= {"input": own, "keyed": own}
    if stages[0] is not None:
        idle["media_limits"] = "preprocess is your own, which reads the media"
    elif not task.media:
        idle["media_limits"] = (
            "the pipeline class reads its media itself"
            if task.open_inputs
            else f"{task.name} reads no images, audio or video"
        )
    for name, reason in idle.items():
        if given[name]:
            raise ValueError(f"{name} would be ignored: {reason}")


def _updates(metadata: Any, pattern: str | None) -> Any:
    """What says which model answers: a PCollection, a file pattern, or None."""
    if metadata is not None and pattern is not None:
        raise ValueError("model_metadata_pcoll and watch_model_pattern exclude each other")
    if not isinstance(metadata, beam.PCollection | None):
        raise TypeError(f"model_metadata_pcoll must be a PCollection, got {shown(metadata)}")
    if not isinstance(pattern, str | None) or pattern == "":
        raise TypeError(f"watch_model_pattern must be a file pattern, got {shown(pattern)}")
    return metadata if pattern is None else pattern


def _media_limits(given: Mapping[str, float], parameters: Mapping[str, Any]) -> MediaLimits:
    """The limits, with the `timeout` that transformers' media tasks have as a parameter."""
    if not isinstance(given, Mapping):
        raise ValueError(f"media_limits must be a mapping, got {shown(given)}")
    valid = {item.name for item in fields(MediaLimits)}
    for name in given:
        if name not in valid:
            raise ValueError(f"media_limits: {unknown('limit', name, valid)}")
    timeout = parameters.get("timeout")
    return MediaLimits(**{**({} if timeout is None else {"timeout": timeout}), **given})


def _default_model(task: str, revision: str | None) -> tuple[str, str]:
    model, default_revision = find(task).default()
    revision = revision or default_revision
    warnings.warn(
        f"no model given for {task}: using {model!r}, revision {revision!r}. Name a model and a "
        "revision, or the answers may change when this default does.",
        stacklevel=3,
    )
    return model, revision


def _custom_columns(function: Callable[[Any], Any], of_rows: bool) -> dict[str, Any]:
    """What a postprocess function of the user's gives: one column, of the type it declares.

    Raises TypeError for a type that no column of rows can have.
    """
    kind: Any = returned_type(function) if of_rows else Any
    return {
        "columns": lambda parameters: {"inference": kind},
        "values": values,
    }


def _error_output(spec: Mapping[str, Any]) -> str:
    """The name of the failures' output in Beam YAML's error_handling."""
    names = {name: value for name, value in spec.items() if not name.startswith("__")}
    if set(names) != {"output"} or not isinstance(names["output"], str):
        raise ValueError(f"error_handling must be {{output: a name}}, got {shown(names)}")
    return names["output"]

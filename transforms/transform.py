"""The transforms that users put into their pipelines: one for every task."""

from __future__ import annotations

import collections
import copy
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, Self, TypeAlias

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints import typehints

from . import check
from .failures import failure_type
from .media.limits import MediaLimits
from .record import Record
from .rows import Binding
from .spec import Limits, ModelSpec, Spec, unknown
from .stages import FAILED, ForwardFn, PostprocessFn, PreprocessFn
from .tasks import canonical, find

#: A function in place of a stage's own, or a transform in place of the stage.
Custom: TypeAlias = "Callable[[Any], Any] | beam.PTransform"


class _Handling(beam.PTransform):  # type: ignore[misc]
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

    def _outputs(self, good: Any, bad: list[Any], element_type: Any) -> Any:
        """What `expand` returns: the results alone, or results and failures."""
        if self._tags is None:
            return good
        for rows in bad:
            rows.element_type = failure_type(element_type)
        all_bad = bad[0] if len(bad) == 1 else tuple(bad) | "Failures" >> beam.Flatten()
        all_bad.element_type = failure_type(element_type)
        named: Any = collections.namedtuple  # the names are only known now
        return named("Results", self._tags)(good, all_bad)

    def _apply(self, fn: beam.DoFn, pcoll: Any, result_type: Any) -> tuple[Any, list[Any]]:
        """A stage's DoFn on a PCollection: its results, and its failures if asked for."""
        step = beam.ParDo(fn)
        if self._tags is None:
            return pcoll | "Run" >> step.with_output_types(result_type), []
        outputs = pcoll | "Run" >> step.with_outputs(FAILED, main="main")
        good, bad = outputs["main"], outputs[FAILED]
        good.element_type = result_type
        return good, [bad]


class Preprocess(_Handling):
    """The first stage of a task: elements to Records of features. Holds no weights."""

    def __init__(self, of: TaskTransform) -> None:
        super().__init__()
        self._of = of

    def expand(self, pcoll: Any) -> Any:
        """PCollection of elements to PCollection of Records."""
        of = self._of
        of._binding.check(pcoll.element_type)
        function = of._custom["preprocess"]
        fn = PreprocessFn(of.spec, self._tags is not None, of._binding, function)
        good, bad = self._apply(fn, pcoll, Record)
        return self._outputs(good, bad, pcoll.element_type)


class Forward(_Handling):
    """The stage with the model: Records of features to Records of outputs."""

    def __init__(self, of: TaskTransform) -> None:
        super().__init__()
        self._of = of

    def expand(self, pcoll: Any) -> Any:
        """PCollection of Records to PCollection of Records."""
        fn = ForwardFn(self._of.spec, self._tags is not None)
        good, bad = self._apply(fn, pcoll, Record)
        return self._outputs(good, bad, self._of._element_type)


class Postprocess(_Handling):
    """The last stage: Records of outputs to predictions. Holds no weights."""

    def __init__(self, of: TaskTransform) -> None:
        super().__init__()
        self._of = of

    def expand(self, pcoll: Any) -> Any:
        """PCollection of Records to PCollection of predictions."""
        of = self._of
        fn = PostprocessFn(of.spec, self._tags is not None, of._binding, of._custom["postprocess"])
        good, bad = self._apply(fn, pcoll, of._binding.result_type(of._element_type))
        return self._outputs(good, bad, of._element_type)


class TaskTransform(_Handling):
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
      model: a Hugging Face model id or a local directory. None: Hugging Face's default for the
        task, with a warning that names it.
      tokenizer, processor: another source for them than the model's.
      revision: branch, tag or commit of the model's repository.
      device: None for the best device of the worker, -1 or "cpu", 0, "cuda:1", "mps".
      dtype: "auto" (as saved), "float32", "bfloat16" or "float16".
      attn_implementation: "sdpa", "eager", "flash_attention_2", …
      model_kwargs: more keywords for `from_pretrained`.
      trust_remote_code: run Python code from the model's repository.
      batch_size: most chunks in a batch. None: chosen by the engine.
      batch_tokens: most tokens in a batch, padding included; of images and sounds, 768 numbers
        count as one. None: chosen by the engine.
      media_limits: how large images, audio and video may be, where the defaults do not do:
        {"image_pixels": 200_000_000}; and how many URIs are fetched at once. See MediaLimits for
        the names.
      keyed: elements are (key, value) pairs, and so are the results.
      input: the column of the rows that holds the input; for a task with several inputs a
        mapping from their names to columns.
      output: one column for the whole prediction, of this name.
      preprocess: in place of the first stage: a function from an input to the model's features
        (one mapping, or a list of them), or a PTransform that gives Records.
      postprocess: in place of the last stage: a function from the model's outputs to the
        inference, or a PTransform that takes Records.
      error_handling: Beam YAML's {output: name}; in Python, `with_exception_handling()`.
      **parameters: the task's own, under Hugging Face's names.

    Raises:
      ValueError: an option or parameter has a value that cannot be right.
      TypeError: a parameter does not exist for this task, or is missing.
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
        model_kwargs: Mapping[str, Any] | None = None,
        trust_remote_code: bool = False,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        media_limits: Mapping[str, float] | None = None,
        keyed: bool = False,
        input: str | Mapping[str, str] | None = None,
        output: str | None = None,
        preprocess: Custom | None = None,
        postprocess: Custom | None = None,
        error_handling: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> None:
        super().__init__()
        name = parameters.pop("task", None) or self.task
        found = find(name)
        found.check_parameters(parameters)
        if model is None:
            model, revision = _default_model(name, revision)
        self.spec = Spec(
            model=ModelSpec(
                task=canonical(name),
                model=model,
                revision=revision,
                tokenizer=tokenizer,
                processor=processor,
                device=device,
                dtype=dtype,
                attn_implementation=attn_implementation,
                model_kwargs=dict(model_kwargs or {}),
                trust_remote_code=trust_remote_code,
            ),
            parameters=parameters,
            limits=Limits(batch_size=batch_size, batch_tokens=batch_tokens),
            media_limits=_media_limits(media_limits or {}, parameters),
        )
        if callable(postprocess) and not isinstance(postprocess, beam.PTransform):
            found = replace(found, **_custom_columns(postprocess))
        self._binding = Binding(
            task=found, parameters=parameters, keyed=keyed, input=input, output=output
        )
        self._custom = {"preprocess": preprocess, "postprocess": postprocess}
        self._element_type: Any = typehints.Any
        if error_handling:
            self._tags = ("good", _error_output(error_handling))

    def default_label(self) -> str:
        """The task's name in CamelCase."""
        return self._binding.task.transform

    def schema(self, input_schema: pa.Schema | None = None) -> pa.Schema:
        """The pyarrow schema of the output rows, given that of the input rows.

        ```python
        scored | WriteToParquet("scored/part", schema=scorer.schema(pq.read_schema(path)))
        ```
        """
        return self._binding.schema(input_schema)

    def expand(self, pcoll: Any) -> Any:
        """The three stages, one after the other."""
        check.check(self.spec)
        of = copy.copy(self)
        of._element_type = pcoll.element_type
        bad: list[Any] = []
        for stage in (Preprocess, Forward, Postprocess):
            pcoll = self._add(stage, of, pcoll, bad)
        return self._outputs(pcoll, bad, of._element_type)

    def _add(self, stage: type[_Handling], of: Self, pcoll: Any, bad: list[Any]) -> Any:
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


def _media_limits(given: Mapping[str, float], parameters: Mapping[str, Any]) -> MediaLimits:
    """The limits, with the `timeout` that transformers' media tasks have as a parameter."""
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


def _custom_columns(function: Callable[[Any], Any]) -> dict[str, Any]:
    """What a postprocess function of the user's gives: one column, of the type it declares."""
    kind = getattr(function, "__annotations__", {}).get("return", Any)
    return {
        "columns": lambda parameters: {"inference": kind},
        "values": lambda inference, parameters: {"inference": inference},
    }


def _error_output(spec: Mapping[str, Any]) -> str:
    """The name of the failures' output in Beam YAML's error_handling."""
    names = {name: value for name, value in spec.items() if not name.startswith("__")}
    if set(names) != {"output"} or not isinstance(names["output"], str):
        raise ValueError(f"error_handling must be {{output: a name}}, got {names!r}")
    return names["output"]

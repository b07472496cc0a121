"""The transforms that users put into their pipelines: one for every task."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import apache_beam as beam
import pyarrow as pa

from ..options.spec import Limits, ModelSpec, Spec
from ..pipelines.custom import task_of
from ..tasks import canonical, find
from . import functions, preflight, task_options
from .exceptions import WithFailures
from .plan import CustomStage, TaskPlan
from .transforms import Forward, Postprocess, Preprocess


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
        preprocess: CustomStage | str | None = None,
        postprocess: CustomStage | str | None = None,
        error_handling: Mapping[str, Any] | None = None,
        **parameters: Any,
    ) -> None:
        options = dict(locals())  # by their names, which are those of the fields that they fill
        super().__init__()
        for stage in ("preprocess", "postprocess"):
            options[stage] = functions.resolved(stage, options[stage])
        name = parameters.pop("task", None) or self.task
        self._check_task(name, model, parameters)
        if model is None:
            options |= task_options.default_model(name, revision)
        spec = self._resolve_task(task_options.model_spec(name, options))
        task = task_of(spec)
        task.check_parameters(parameters, options_of(type(self)))
        self.plan = task_options.task_plan(spec, task, options)
        if error_handling:
            self._tags = ("good", task_options.error_output(error_handling))

    def _check_task(self, name: str, model: str | None, parameters: Mapping[str, Any]) -> None:
        """Raises for a task that does not exist, or cannot be asked without a model."""
        find(name).check_parameters(parameters, options_of(type(self)))

    def _resolve_task(self, spec: ModelSpec) -> ModelSpec:
        """The model spec with the task's canonical name, or with what else decides how it runs."""
        return replace(spec, task=canonical(spec.task))

    @property
    def spec(self) -> Spec:
        """The model, the parameters and the limits, as they were given."""
        return self.plan.spec

    def default_label(self) -> str:
        """The task's name in CamelCase."""
        return self.plan.binding.task.transform

    def schema(self, input_schema: pa.Schema | None = None) -> pa.Schema:
        """The pyarrow schema of the output rows, given that of the input rows.

        ```python
        scored | WriteToParquet("scored/part", schema=scorer.schema(pq.read_schema(path)))
        ```
        """
        return self.plan.binding.schema(input_schema)

    def expand(self, pcoll: Any) -> Any:
        """The three stages, one after the other."""
        plan = replace(self.plan.pinned, element_type=pcoll.element_type)
        preflight.check(plan.spec, plan.replaced_stages)
        bad: list[Any] = []
        for stage in (Preprocess, Forward, Postprocess):
            pcoll = self._add(stage, plan, pcoll, bad)
        return self._outputs(pcoll, bad)

    def _add(self, stage: type[WithFailures], plan: TaskPlan, pcoll: Any, bad: list[Any]) -> Any:
        label = stage.__name__
        custom = getattr(plan, label.lower(), None)
        if isinstance(custom, beam.PTransform):
            return pcoll | label >> custom
        transform = stage(plan)
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

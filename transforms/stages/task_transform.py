"""The transforms that users put into their pipelines: one for every task."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import apache_beam as beam
import pyarrow as pa

from ..options.late import import_libraries
from ..options.spec import Limits, ModelSpec, Spec
from ..pipelines.custom import task_of
from ..rows.tables import failure_schema
from ..tasks import canonical, find
from . import functions, task_options
from .exceptions import WithFailures
from .plan import CustomStage, OpenLimit, TaskPlan
from .tables import Tables, takes_tables
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
      device: None for the best device of the worker, -1 or "cpu", 0, "cuda:1", "mps". The job
        fails on a worker that does not have the named device.
      dtype: "auto" (as saved), "float32", "bfloat16" or "float16".
      attn_implementation: "sdpa", "eager", "flash_attention_2", …
      device_map: in place of `device`, "auto" or a mapping from modules to devices, for a model
        that does not fit on one device. Needs accelerate.
      torch_compile: True, or keywords of torch.compile, such as {"mode": "max-autotune"}. One
        compiled program serves batches of all shapes, unless the keywords say otherwise.
      quantization_config: one of transformers' classes, or a mapping such as {"quant_method":
        "quanto", "weights": "int8"}.
      model_kwargs: further keywords of `from_pretrained`.
      engine: "vllm" runs the model in vLLM, without batches: prompts enter it as they come. For
        text-generation; needs vLLM. "auto": where vLLM is installed and serves the model, and
        there is a GPU where the pipeline is built.
      engine_options: arguments of vLLM's engine, such as {"max_model_len": 8192}.
      trust_remote_code: run Python code from the model's repository.
      allow_random_weights: run a model although its checkpoint lacks weights that the task needs,
        which are random then. By default the job fails before the first prediction.
      resize_on_device: for models that take images of one size: resize them on the model's device,
        which spares the workers most of their work behind decoding. Rounding differs there.
      batch_size: the maximum number of chunks in a batch. None: the engine chooses.
      batch_tokens: the maximum number of tokens in a batch, padding included; 768 numbers of an
        image or a sound count as one token. None: the engine chooses.
      share: "process": each worker process loads the model. "machine": all processes of a machine
        share one, in a process of its own for each accelerator. "auto": "machine" where there
        are several worker processes or an accelerator, else "process".
      batch_timeout: the maximum seconds for a batch. The engine's process is ended when a batch
        takes longer, and each of its elements runs in a batch of its own; an element that times
        out again on its own fails.
      max_device_memory: how much of a device the weights of all models of a job may take together,
        of those that have this option: bytes, or "20GB". A model is loaded when it is needed, and
        makes room when others are and it is idle or has had its turn.
      max_wait_ms: the maximum milliseconds that a batch waits for elements from other bundles. It
        waits only for bundles that were answered a moment ago. 0: never.
      media_limits: how large images, audio and video may be, where the defaults do not fit:
        {"image_pixels": 200_000_000}; and how many URIs are fetched at once, "fetches". See
        MediaLimits for all names.
      isolate: run the stage with the model on workers of its own, where a runner has several kinds
        (Dataflow): what comes in and goes out is shuffled. With tables, all three stages are one.
      accelerator: a resource hint for the stage with the model, as Beam takes it:
        "type:nvidia-l4;count:1;install-nvidia-driver". Without `isolate`, what the runner fuses
        with that stage runs there, too.
      min_ram: the same for the least memory of a worker: bytes, or "16GB".
      keyed: elements are (key, value) pairs, and so are the results.
      input: the column of the rows that holds the input; for a task with several inputs a
        mapping from their names to columns.
      prompt: in place of the column of the text: a text with the values of columns in it, as in
        "Summarize for {{ reader }}: {{ text }}". A Jinja template, which runs in a sandbox.
      messages: the same for a chat: a list of messages with role and content, each a template. An
        item "{{ column }}" is a column of messages; in a block of another type than text, it is the
        column's value, such as an image.
      output: one column for the whole prediction, of this name.
      json_chats: for tasks that take chats: whether a string that holds a chat in JSON is that chat
        (True) or a prompt (False). None: such a string is an error. In place of the chat it may be
        {"messages": the chat}, or one message.
      model_metadata_pcoll: a PCollection of Beam's ModelMetadata that names the model to use from
        then on, as in RunInference. It is loaded beside the current one and takes over between
        batches; its tokenizer must be that of the first model. PredictionResults have its
        model_id; rows have it in a column of that name.
      watch_model_pattern: a file pattern in place of it: the model is the directory of the newest
        file that matches. Streaming only.
      preprocess: in place of the first stage: a function from an example to the model's features
        (one mapping, or a list of them), or a PTransform from elements to Records.
      postprocess: in place of the last stage: a function from the model's outputs to the
        inference, or a PTransform from Records. Functions may be given by name, as
        "module.function", in a module that the workers can import.
      error_handling: Beam YAML's {output: name}; in Python, `with_exception_handling()`.
      **parameters: the task's own, under Hugging Face's names.

    Raises:
      ValueError: an option or parameter has an invalid value, or would be ignored.
      TypeError: a parameter does not exist for this task, or is missing; postprocess is annotated
        with a type that no column can have.
      FileNotFoundError: a local model does not exist.

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
        engine: str = "transformers",
        engine_options: Mapping[str, Any] | None = None,
        trust_remote_code: bool = False,
        allow_random_weights: bool = False,
        resize_on_device: bool = False,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        share: str = "auto",
        batch_timeout: float | None = None,
        max_device_memory: int | str | None = None,
        max_wait_ms: float = Limits.max_wait_ms,
        media_limits: Mapping[str, float] | None = None,
        isolate: bool = False,
        accelerator: str | None = None,
        min_ram: int | str | None = None,
        keyed: bool = False,
        input: str | Mapping[str, str] | None = None,
        prompt: str | None = None,
        messages: Sequence[Any] | None = None,
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
            options[stage] = functions.custom_stage(stage, options[stage])
        name = parameters.pop("task", None) or self.task
        task_options.read_response_format(name, parameters)
        #: The options that are given, by name: the config of the same transform in Beam YAML.
        self.config = _given(options, {} if name == self.task else {"task": name})
        task_options.part_rows_from_parameters(name, options)
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
        """Raises for a task that does not exist, or has no default model and none is given."""
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

        Raises ValueError for input rows that the task cannot answer: without the input's column,
        with one of a type that it cannot read, or with a column of the prediction's.
        """
        return self.plan.binding.schema(input_schema)

    def failure_schema(self, input_schema: pa.Schema) -> pa.Schema:
        """The pyarrow schema of tables of failure rows, given that of the input tables.

        Their column `element` has the rows that failed, as structs.
        """
        return failure_schema(input_schema)

    def takes_tables(self, input_schema: pa.Schema) -> bool:
        """Whether tables of a schema can be elements, with the options of this transform."""
        try:
            Tables(self.plan, self._tags)
            self.schema(input_schema)
        except ValueError:
            return False
        return True

    @property
    def repeats(self) -> bool:
        """Whether equal inputs certainly have equal answers, as far as the model decides it.

        Loads the tokenizer or processors of the model.
        """
        import_libraries()
        from .record_pipeline import RecordPipeline

        plan = self.plan.pinned
        return RecordPipeline(plan.spec, plan.binding.task).repeats

    def with_reuse(self) -> Self:
        """The same transform, computing rows of one table once if their inputs are equal.

        The answer, or the failure, is that of all of them. All are computed where answers may
        differ: with sampling, with a pipeline class or a function of the user's.
        """
        copied = copy.copy(self)
        copied.plan = replace(self.plan.pinned, reuse=True)
        return copied

    def with_open_tables(self, rows: int, nbytes: int) -> Self:
        """The same transform, with at most so much of tables that are begun and not yielded.

        That is what a worker that is killed has computed in vain. A larger table is begun alone.
        """
        copied = copy.copy(self)
        copied.plan = replace(self.plan, open_tables=OpenLimit(rows, nbytes))
        return copied

    def expand(self, pcoll: Any) -> Any:
        """The three stages, one after the other; in one step for tables."""
        import_libraries()
        from . import preflight

        plan = replace(self.plan.pinned, element_type=pcoll.element_type, is_whole=True)
        of_tables = Tables(plan, self._tags) if takes_tables(plan, pcoll) else None
        own = plan.binding.row_parameters
        row_parameters = () if own is None else tuple(own.columns)
        preflight.check_task(plan.spec, plan.replaced_stages, row_parameters)
        if of_tables is not None:
            return pcoll | "Tables" >> of_tables
        bad: list[Any] = []
        for stage in (Preprocess, Forward, Postprocess):
            pcoll = self._add(stage, plan, pcoll, bad)
        return self._outputs(pcoll, bad)

    def _add(self, stage: type[WithFailures], plan: TaskPlan, pcoll: Any, bad: list[Any]) -> Any:
        """Apply a stage, or what the user has in its place; its failures are added to `bad`."""
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


def _given(options: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a constructor that differ from their defaults, and its parameters."""
    arguments = inspect.signature(TaskTransform).parameters.values()
    own = {
        each.name: options[each.name]
        for each in arguments
        if each.kind is not each.VAR_KEYWORD and options[each.name] is not each.default
    }
    own.pop("error_handling", None)
    return {**own, **more, **options["parameters"]}


#: The options that most jobs use.
_COMMON = ("model", "device", "dtype", "batch_size", "input", "output", "keyed", "tokenizer")


def options_of(cls: Any) -> tuple[str, ...]:
    """The names of a transform's own options, without its task's parameters; common ones first."""
    names = dict.fromkeys(_COMMON)
    for transform in (TaskTransform, cls):
        arguments = inspect.signature(transform).parameters.values()
        names |= {each.name: None for each in arguments if each.kind is not each.VAR_KEYWORD}
    return tuple(names)

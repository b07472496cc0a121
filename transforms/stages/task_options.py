"""The options of a task's transform: their checks, and the plan that they make up.

`options` are the arguments of the constructor by name, `parameters` among them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeAlias

import apache_beam as beam

from ..options import engines
from ..options.byte_sizes import byte_count
from ..options.media_limits import MediaLimits
from ..options.placement import Placement
from ..options.shown import shown
from ..options.spec import Limits, ModelSpec, Sharing, Spec
from ..options.suggest import unknown
from ..pipelines.custom import returned_type, values
from ..rows.binding import Binding
from ..rows.prompts import prompt_of
from ..rows.row_parameters import RowParameters
from ..tasks import ALIASES, TASKS, Task, find
from ..tasks.response_format import normal
from .plan import TaskPlan

Options: TypeAlias = Mapping[str, Any]


def model_spec(task: str, options: Options) -> ModelSpec:
    """Which weights to load, and how."""
    arguments = {**_fields(ModelSpec, options), "task": task, "source": options["model"]}
    for name in ("model_kwargs", "engine_options"):
        if arguments[name] is None:
            del arguments[name]
    return ModelSpec(**arguments)


def read_response_format(name: str, parameters: dict[str, Any]) -> None:
    """Put a JSON schema in the place of a class of pydantic, which workers may not have.

    Raises TypeError or ValueError for a response_format that is none.
    """
    task = TASKS.get(ALIASES.get(name, name))
    form = parameters.get("response_format")
    if form is not None and task is not None and task.answers_in_text:
        parameters["response_format"] = normal(form)


def part_rows_from_parameters(name: str, options: dict[str, Any]) -> None:
    """Tell the options about rows from parameters of the same names: some tasks have a prompt.

    The columns of parameters are among the parameters as "parameters".
    """
    parameters = options["parameters"]
    task = TASKS.get(ALIASES.get(name, name))
    if task is None or task.open_inputs or "prompt" in task.parameters:
        for own in ("prompt", "messages"):
            if options[own] is not None:
                parameters[own] = options[own]
                options[own] = None
    columns = parameters.pop("parameters", None) if task is not None and task.generates else None
    options["row_parameters"] = None if columns is None else RowParameters(columns)


def default_model(task: str, revision: str | None) -> dict[str, Any]:
    """The options `model` and `revision` where no model is given; a warning names it."""
    model, default_revision = find(task).default()
    revision = revision or default_revision
    warnings.warn(
        f"no model given for {task}: using {model!r}, revision {revision!r}. Name a model and a "
        "revision, or the answers may change when this default does.",
        stacklevel=3,
    )
    return {"model": model, "revision": revision}


def task_plan(model: ModelSpec, task: Task, options: Options) -> TaskPlan:
    """The plan of a task's transform."""
    parameters = options["parameters"]
    _check_used(task, options)
    _check_engine(model, task, options)
    spec = Spec(
        model=model,
        parameters=parameters,
        limits=Limits(**_fields(Limits, options)),
        media_limits=media_limits(options["media_limits"] or {}, parameters),
        sharing=_sharing(options),
    )
    if spec.sharing.max_device_memory is not None:
        from .engines import check_device_memory  # with torch

        check_device_memory(spec)
    postprocess = options["postprocess"]
    if callable(postprocess) and not isinstance(postprocess, beam.PTransform):
        of_rows = any(options[name] is not None for name in ("input", "prompt", "messages"))
        task = replace(task, **_custom_columns(postprocess, of_rows))
    updates = _updates(options["model_metadata_pcoll"], options["watch_model_pattern"])
    if updates is not None and options["max_device_memory"] is not None:
        raise ValueError(
            "max_device_memory: a model that is updated is loaded beside the one before, so it "
            "cannot make room for others"
        )
    bound = {
        **_fields(Binding, options),
        "task": task,
        "versioned": updates is not None,
        "prompt": prompt_of(options["prompt"], options["messages"]),
    }
    return TaskPlan(
        spec=spec,
        binding=Binding(**bound),
        preprocess=options["preprocess"],
        postprocess=postprocess,
        updates=updates,
        placement=Placement(**_fields(Placement, options)),
    )


def _sharing(options: Options) -> Sharing:
    memory = options["max_device_memory"]
    return Sharing(
        share=options["share"],
        timeout=options["batch_timeout"],
        max_device_memory=None if memory is None else byte_count("max_device_memory", memory),
    )


def error_output(error_handling: Mapping[str, Any]) -> str:
    """The name of the failures' output in Beam YAML's error_handling."""
    if not isinstance(error_handling, Mapping):
        raise ValueError(f"error_handling must be {{output: a name}}, got {shown(error_handling)}")
    names = {name: value for name, value in error_handling.items() if not name.startswith("__")}
    if set(names) != {"output"} or not isinstance(names["output"], str):
        raise ValueError(f"error_handling must be {{output: a name}}, got {shown(names)}")
    return names["output"]


def _fields(cls: type[Any], options: Options) -> dict[str, Any]:
    """The options for which a dataclass has fields of the same names."""
    return {each.name: options[each.name] for each in fields(cls) if each.name in options}


def _check_used(task: Task, options: Options) -> None:
    """Raises ValueError for an option that would be ignored."""
    first = isinstance(options["preprocess"], beam.PTransform)
    last = isinstance(options["postprocess"], beam.PTransform)
    ignored: dict[str, str] = {}
    if last:
        ignored["output"] = "postprocess is a transform of your own, which names its columns itself"
    if first and last:
        own = "preprocess and postprocess are transforms of your own, which read the elements"
        ignored |= dict.fromkeys(("input", "keyed", "prompt", "messages"), own)
    if options["preprocess"] is not None:
        ignored["media_limits"] = "preprocess is your own, which reads the media"
    elif not task.media:
        ignored["media_limits"] = (
            "the pipeline class reads its media itself"
            if task.open_inputs
            else f"{task.name} reads no images, audio or video"
        )
    for name, reason in ignored.items():
        if options[name]:
            raise ValueError(f"{name} would be ignored: {reason}")


def _check_engine(model: ModelSpec, task: Task, options: Options) -> None:
    """Raises ValueError for a task that vLLM does not answer, or an option without use there."""
    if model.engine != "vllm":
        return
    if task.name not in engines.VLLM_TASKS:
        tasks = ", ".join(engines.VLLM_TASKS)
        raise ValueError(f"engine='vllm' is for {tasks}, got {task.name}")
    if options["share"] == "process":
        raise ValueError("share='process' is not for engine='vllm', which has its own process")
    for name in engines.of_batches(options):
        raise ValueError(
            f"{name} is not for engine='vllm', which forms no batches and keeps its one model: "
            "engine_options has max_num_seqs and gpu_memory_utilization"
        )


def _updates(metadata: Any, pattern: str | None) -> Any:
    """The PCollection or file pattern that names the model that answers, or None."""
    if metadata is not None and pattern is not None:
        raise ValueError("model_metadata_pcoll and watch_model_pattern exclude each other")
    if not isinstance(metadata, beam.PCollection | None):
        raise TypeError(f"model_metadata_pcoll must be a PCollection, got {shown(metadata)}")
    if not isinstance(pattern, str | None) or pattern == "":
        raise TypeError(f"watch_model_pattern must be a file pattern, got {shown(pattern)}")
    return metadata if pattern is None else pattern


def media_limits(limits: Mapping[str, float], parameters: Mapping[str, Any]) -> MediaLimits:
    """The limits, with the `timeout` that transformers' media tasks have as a parameter."""
    if not isinstance(limits, Mapping):
        raise ValueError(f"media_limits must be a mapping, got {shown(limits)}")
    valid = {each.name for each in fields(MediaLimits)}
    for name in limits:
        if name not in valid:
            raise ValueError(f"media_limits: {unknown('limit', name, valid)}")
    timeout = parameters.get("timeout")
    return MediaLimits(**{**({} if timeout is None else {"timeout": timeout}), **limits})


def _custom_columns(function: Callable[[Any], Any], of_rows: bool) -> dict[str, Any]:
    """The columns of a user's postprocess function: one column, of its annotated return type.

    Raises TypeError for a type that no column of rows can have.
    """
    kind: Any = returned_type(function) if of_rows else Any
    return {
        "columns": lambda parameters: {"inference": kind},
        "values": values,
    }

"""Pipeline classes of others: a user's own, and those of models' repositories."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import operator
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..options import content_hash
from ..options.shown import shown
from ..options.sources import is_local
from ..options.spec import ModelSpec
from ..tasks.registry import ALIASES, TASKS, find
from ..tasks.task import Columns, Parameters, Task

#: What a class may not replace: the stages are taken apart where these put them together.
_TOGETHER = ("run_single", "get_iterator")


def with_pipeline_class(spec: ModelSpec, pipeline_class: type[Any] | str | None) -> ModelSpec:
    """The same, saying which class runs it, and by which classes its model is loaded.

    Args:
      spec: the model, and the name of the task.
      pipeline_class: a subclass of transformers.Pipeline or its name, "module.Class". None: the
        one that the model's repository has for the task, or the one registered for it with
        transformers.

    Raises:
      ValueError: there is no such class, or it is not to be run.
      TypeError: it is no pipeline class.

    """
    if pipeline_class is not None:
        name = _importable(pipeline_class)
        return replace(spec, pipeline_class=name, model_classes=_model_classes(spec))
    entry = repository_pipelines(spec).get(spec.task)
    if entry is not None:
        if not spec.trust_remote_code:
            raise ValueError(
                f"{spec.source!r} has a pipeline class of its own for {spec.task!r}. It is code, "
                "and runs on your workers: read it, then set trust_remote_code=True"
            )
        return replace(spec, pipeline_class=entry["impl"], model_classes=_names(entry.get("pt")))
    stock = _registered(spec.task)
    if stock is None:
        find(spec.task)  # raises, naming the valid ones
        raise ValueError(
            f"{spec.source!r} has no pipeline class of its own for {spec.task!r}: without "
            f"pipeline_class, {TASKS[ALIASES.get(spec.task, spec.task)].transform} is its transform"
        )
    return replace(
        spec, pipeline_class=_importable(stock["impl"]), model_classes=_model_classes(spec)
    )


def is_custom(
    task: str, model: str | None, pipeline_class: Any, options: Mapping[str, Any]
) -> bool:
    """Whether a pipeline class of a user or of a repository answers, and not the task's own."""
    if pipeline_class is not None:
        return True
    trusted = options.get("trust_remote_code") is True
    if task in TASKS or task in ALIASES:  # a repository may have its own class for a known task
        if not trusted or model is None:
            return False
    elif _registered(task) is not None:
        return True
    if not isinstance(task, str) or model is None:
        return False
    spec = ModelSpec(task=task, source=model, revision=options.get("revision"))
    return task in repository_pipelines(spec)


def task_of(spec: ModelSpec) -> Task:
    """The task that a model is asked."""
    if spec.pipeline_class is None:
        return find(spec.task)
    return Task(
        name=spec.task,
        transform=spec.pipeline_class.replace(":", ".").rpartition(".")[2],
        inputs={"inputs": (object,)},
        parameters=_parameters(class_of(spec)),
        open_parameters=_is_open(class_of(spec)),
        open_inputs=True,
        columns=functools.partial(_columns, spec),
        values=values,
        model_classes=spec.model_classes,
    )


def class_of(spec: ModelSpec) -> type[Any]:
    """The class that preprocesses, runs and postprocesses a model's task."""
    if spec.pipeline_class is None:
        return find(spec.task).pipeline_class()
    if ":" in spec.pipeline_class:
        return _imported(spec.pipeline_class)
    if not spec.trust_remote_code:
        raise ValueError(f"{spec.source!r}: its code is only run with trust_remote_code=True")
    files = content_hash.of_directory(spec.source) if is_local(spec.source) else ""
    return _repository_class(spec.pipeline_class, spec.source, spec.revision, files)


def repository_pipelines(spec: ModelSpec) -> Mapping[str, Any]:
    """What a model's configuration says of pipeline classes of its own; no code is run."""
    from transformers import PreTrainedConfig

    try:
        config, _ = PreTrainedConfig.get_config_dict(spec.source, revision=spec.revision)
    except OSError:  # not there, or out of reach: who loads the model says so
        return {}
    found: Mapping[str, Any] = config.get("custom_pipelines") or {}
    return found


def _imported(name: str) -> type[Any]:
    module, _, attribute = name.partition(":")
    found: type[Any] = operator.attrgetter(attribute)(importlib.import_module(module))
    return found


@functools.lru_cache(64)
def _repository_class(name: str, model: str, revision: str | None, files: str) -> type[Any]:
    """The class; `files` stands for what lies in a local directory, which may be overwritten."""
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    found: type[Any] = _checked(get_class_from_dynamic_module(name, model, revision=revision))
    return found


def _importable(given: type[Any] | str) -> str:
    """The class as "module:Class", which every worker can import."""
    if isinstance(given, str):
        module, _, attribute = given.rpartition(":" if ":" in given else ".")
        name = f"{module}:{attribute}"
    elif isinstance(given, type):
        name = f"{given.__module__}:{given.__qualname__}"
    else:
        raise TypeError(
            f"pipeline_class must be a subclass of transformers.Pipeline, got {shown(given)}"
        )
    if name.startswith("__main__:") or "<locals>" in name:
        raise ValueError(
            f"pipeline_class {name.replace(':', '.')} is defined where workers cannot import it: "
            "move it to the top level of a module that is installed on them"
        )
    try:
        found = _imported(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"pipeline_class {shown(given)} cannot be imported: {error}") from error
    _checked(found)
    return name


def _checked(cls: Any) -> Any:
    from transformers import Pipeline

    if not (isinstance(cls, type) and issubclass(cls, Pipeline)):
        raise TypeError(
            f"pipeline_class must be a subclass of transformers.Pipeline, got {shown(cls)}"
        )
    for name in _TOGETHER:
        if not getattr(cls, name).__module__.startswith("transformers.pipelines."):
            raise TypeError(
                f"pipeline_class {cls.__name__} has a {name} of its own: its preprocess, _forward "
                "and postprocess cannot be run apart"
            )
    return cls


def _registered(task: Any) -> Mapping[str, Any] | None:
    """A task that a user registered with transformers."""
    from transformers.pipelines import SUPPORTED_TASKS

    if not isinstance(task, str) or task in TASKS or task in ALIASES:
        return None
    entry = SUPPORTED_TASKS.get(task)
    return entry if entry is not None and isinstance(entry["impl"], type) else None


def _model_classes(spec: ModelSpec) -> tuple[str, ...]:
    """What loads the models of a known task; for an unknown one, the class that they name."""
    stock = _registered(spec.task)
    if stock is not None:
        return _names(stock.get("pt"))
    if spec.task in TASKS or spec.task in ALIASES:
        return _names(find(spec.task).auto_classes())
    return _names(repository_pipelines(spec).get(spec.task, {}).get("pt"))


def _names(classes: Any) -> tuple[str, ...]:
    """Classes, or names in transformers, as names."""
    listed = (classes,) if isinstance(classes, str | type) else tuple(classes or ())
    return tuple(
        each if isinstance(each, str) else f"{each.__module__}:{each.__qualname__}"
        for each in listed
    )


def _parameters(cls: Any) -> Parameters:
    """The keywords that the class makes its stages' of, and those that its call has itself."""
    from .split_call import call_keywords

    taken = list(inspect.signature(cls._sanitize_parameters).parameters.values())[1:]
    return {
        each.name: None if each.default is each.empty else each.default
        for each in (*taken, *call_keywords(cls))
        if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    }


def _is_open(cls: Any) -> bool:
    """Whether the class takes keywords that its signature does not name."""
    taken = inspect.signature(cls._sanitize_parameters).parameters.values()
    return any(each.kind is inspect.Parameter.VAR_KEYWORD for each in taken)


def _columns(spec: ModelSpec, parameters: Parameters) -> Columns:
    """One column, of the type that the class's postprocess says it returns."""
    return {"inference": _column_type(class_of(spec).postprocess)}


@functools.lru_cache(64)
def _column_type(postprocess: Any) -> Any:
    try:
        return returned_type(postprocess)
    except TypeError:  # a type that no column can have
        return Any


def returned_type(function: Any) -> Any:
    """The type of the column that holds what a function returns, as it is annotated.

    Any where it has no annotation, or one that cannot be told from here. Raises TypeError for a
    type that no column can have.
    """
    from ..rows.schema import arrow_type

    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if not inspect.isroutine(inner):
        inner = type(inner).__call__
    try:
        kind = typing.get_type_hints(inner).get("return", Any)
    except (NameError, TypeError):  # of what is only imported for type checkers
        return Any
    if kind is Any:
        return Any
    found = _structs(kind)
    try:
        arrow_type(found)
    except TypeError as error:
        name = getattr(inner, "__qualname__", type(inner).__name__)
        raise TypeError(
            f"{name} returns {_name_of(kind)}, which no column can have. Annotate it with str, "
            "int, float, bool or bytes, with a TypedDict, NamedTuple or dataclass of such fields, "
            "or with a list of one of these, such as list[float]; or with nothing, for a column "
            "of any type, which no file can hold"
        ) from error
    return found


def _name_of(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)


def _structs(kind: Any) -> Any:
    """The type as columns have it: TypedDicts and dataclasses as row types, numpy's as Python's."""
    if typing.is_typeddict(kind) or dataclasses.is_dataclass(kind):
        from apache_beam.typehints.row_type import RowTypeConstraint

        fields = [(name, _structs(each)) for name, each in typing.get_type_hints(kind).items()]
        return RowTypeConstraint.from_fields(fields)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (list, Sequence):
        return Sequence[_structs(args[0])]  # type: ignore[misc]
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(map(_structs, args))]  # noqa: UP007 - of any number
    if isinstance(kind, type) and issubclass(kind, np.generic) and kind is not np.float32:
        return next((own for numpys, own in _OWN if issubclass(kind, numpys)), kind)
    return kind


#: Python's types for NumPy's numbers.
_OWN = (
    (np.bool_, bool),
    (np.integer, int),
    (np.floating, float),
    (np.str_, str),
    (np.bytes_, bytes),
)


def values(inference: Any, parameters: Parameters) -> Mapping[str, Any]:
    """What a pipeline class returns is one column, whatever it is."""
    return {"inference": inference}

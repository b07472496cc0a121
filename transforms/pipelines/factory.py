"""The one place that builds transformers pipelines.

Without weights for the stages around the model, with weights for the engine.

transformers' own factory finds the configuration, tokenizer and processors. Its loading of the
model is replaced, for the calling thread and for the time of the call: patches.py says how.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from typing import Any

import torch
import transformers.pipelines
from transformers import GenerationConfig

from ..engine.errors import contained
from ..options.causes import causes
from ..options.sources import is_local, is_uri
from ..options.spec import ModelSpec
from ..tasks.task import named_classes
from ..weights import devices, headers, object_store
from ..weights import hub as hub_module
from . import patches, random_weights
from .classes.decision_models import decision_config, with_decision_settings
from .custom import class_of, task_of
from .declared import SelfLoadingPipeline
from .errors import ModelLoadError

logger = logging.getLogger(__name__)


def load(spec: ModelSpec) -> Any:
    """The pipeline with its weights on its device, and on no other. Raises ModelLoadError.

    Its attribute `random_weights` has those that the checkpoint does not.
    """
    _require_directories(spec)
    with patches.recorded() as loaded:
        try:
            devices.require_device(spec.device)
            with contained:
                cls: Any = class_of(spec)
                pipe = cls.load(spec) if issubclass(cls, SelfLoadingPipeline) else _load(spec)
        except Exception as error:
            reason = _other_shapes(loaded) or _first_cause(error)
            raise ModelLoadError(
                f"cannot load the model {spec.source!r} for {spec.task}: {reason}"
            ) from error
    pipe.random_weights = random_weights.of(loaded)
    return pipe


def _require_directories(spec: ModelSpec) -> None:
    """The directories were there where the pipeline was built, which may be another machine."""
    for path in (spec.source, spec.tokenizer, spec.processor):
        if path is not None and os.path.isabs(path) and not os.path.isdir(path):
            raise ModelLoadError(
                f"the machine {socket.gethostname()} has no directory {path!r}, which was there "
                "when the pipeline was built: put it there on every worker, for example into their "
                "image, or give a URI that all of them can read, such as s3://…"
            )


def _load(spec: ModelSpec) -> Any:
    # A pickled checkpoint can run code when it is read: only safetensors, unless asked for.
    safe = {"use_safetensors": True, **spec.loading_options}

    def loader(stock: Any, model: Any, *, model_classes: Any, **kwargs: Any) -> Any:
        classes = _model_classes(spec, model_classes)
        return stock(model, model_classes=classes, **{**safe, **kwargs})

    with patches.loading_with(loader):
        return _build(spec, device=spec.device, weights=True)


def weightless(spec: ModelSpec) -> Any:
    """The pipeline with its model on torch's meta device: configuration, no weights.

    Raises ModelLoadError where a directory is missing on this machine.
    """
    _require_directories(spec)
    cls = class_of(spec)
    if issubclass(cls, SelfLoadingPipeline):
        return cls.weightless(spec)

    def loader(_: Any, model: Any, *, config: Any, model_classes: Any, **kwargs: Any) -> Any:
        classes = _model_classes(spec, model_classes)
        return _without_weights(model, config, classes, {**kwargs, "dtype": _dtype(spec, config)})

    with contained, patches.loading_with(loader):
        return _build(spec, device=torch.device("meta"), weights=False)


def _model_classes(spec: ModelSpec, stock: tuple[Any, ...]) -> tuple[Any, ...]:
    """The classes that may load the model, where transformers' factory would take `stock`."""
    if spec.pipeline_class is not None:
        return named_classes(spec.model_classes)
    task = task_of(spec)
    return task.auto_classes() if task.model_classes else stock


def _dtype(spec: ModelSpec, config: Any) -> Any:
    """The dtype of the model with its weights: several pipelines cast their features to it."""
    if spec.dtype != "auto":
        return getattr(torch, spec.dtype)
    if config.dtype is not None:
        return config.dtype
    if is_uri(spec.source):
        return object_store.stored_dtype(spec.source)
    return headers.saved_dtype(spec.source, spec.revision)


def _without_weights(name: str, config: Any, classes: tuple[Any, ...], hub: dict[str, Any]) -> Any:
    """A model of the first class that knows the configuration, as transformers would choose."""
    architectures = [
        getattr(transformers, architecture)
        for architecture in config.architectures or ()
        if hasattr(transformers, architecture)
    ]
    errors = []
    for cls in (*classes, *architectures):
        try:
            with torch.device("meta"):
                model = _constructed(cls, name, config, hub)
        except ValueError as error:
            errors.append(f"{cls.__name__}: {error}")
            continue
        model.name_or_path = name
        if model.can_generate():
            model.generation_config = _generation_config(name, model, hub)
        return model.eval()
    raise ModelLoadError(f"no class can load {name!r}: {'; '.join(errors)}")


def _constructed(cls: Any, name: str, config: Any, hub: dict[str, Any]) -> Any:
    dtype = hub["dtype"]
    if hasattr(cls, "from_config"):  # an Auto class
        trust = hub.get("trust_remote_code", False)
        model = cls.from_config(config, dtype=dtype, trust_remote_code=trust)
    else:
        config = decision_config(cls, name, config, hub.get("revision"))
        model = cls._from_config(config, dtype=dtype)
    return with_decision_settings(model, name, hub.get("revision"))


def _generation_config(name: str, model: Any, hub: dict[str, Any]) -> Any:
    try:
        return GenerationConfig.from_pretrained(name, revision=hub.get("revision"))
    except OSError:  # the repository has none: the model made one from its configuration
        return model.generation_config


def _build(spec: ModelSpec, device: Any, weights: bool) -> Any:
    task = task_of(spec)
    known = task.name in transformers.pipelines.SUPPORTED_TASKS
    model = object_store.directory(spec.source, weights) if is_uri(spec.source) else spec.source
    sources = {"tokenizer": spec.tokenizer, "processor": spec.processor}
    pipe = transformers.pipelines.pipeline(
        # The factory refuses the names it does not know; the class below carries the real one.
        task=task.name if known else "text-classification",
        model=model,
        revision=spec.revision,
        pipeline_class=_named(class_of(spec), spec.task),
        device=device,
        dtype=spec.dtype,
        trust_remote_code=spec.trust_remote_code,
        model_kwargs=dict(spec.model_kwargs),
        **{name: _beside(source, spec) for name, source in sources.items() if source is not None},
    )
    if spec.pipeline_class is None and spec.task in getattr(
        pipe.model.config, "custom_pipelines", {}
    ):
        raise ModelLoadError(
            f"{spec.source!r} has a pipeline class of its own for {spec.task!r}. It is code: read "
            f"it, then run pipeline({spec.task!r}, …, trust_remote_code=True)"
        )
    return pipe


def _beside(source: str, spec: ModelSpec) -> str:
    """A source beside the model's own, in a form that has nothing to do with its revision."""
    if is_uri(source):
        return object_store.directory(source, weights=False)
    if is_local(source) or source == spec.source:
        return source
    return hub_module.beside(source)


def _named(cls: type[Any], task: str) -> type[Any]:
    """The pipeline class, always told the task's own name."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        cls.__init__(self, *args, **{**kwargs, "task": task})

    return type(cls.__name__, (cls,), {"__init__": __init__, "__module__": cls.__module__})


def _other_shapes(loaded: Sequence[patches.Loaded]) -> str:
    """What a checkpoint has in another shape than its model; "" where there is no such weight.

    transformers says it in its log alone.
    """
    failed = (each for each in loaded if each.model is None)
    found = (shape for each in failed for shape in each.mismatched)
    shapes = [
        f"{name} has the shape {tuple(saved)} in the checkpoint and {tuple(own)} in the model"
        for name, saved, own in dict.fromkeys(found)  # each class was tried more than once
    ]
    more = f", and {len(shapes) - 3} more" if len(shapes) > 3 else ""
    return "; ".join(shapes[:3]) + more


def _first_cause(error: BaseException) -> str:
    """The innermost message: transformers wraps a load error in pages of traceback."""
    *_, first = causes(error)
    lines = [line for line in str(first).splitlines() if line.strip()]
    return f"{type(first).__name__}: {lines[-1] if lines else first}"

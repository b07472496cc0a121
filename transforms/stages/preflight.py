"""Checks that are made while the pipeline is built."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from typing import Any

from ..batching import device_resize
from ..batching.vllm_engine import arguments
from ..batching.vllm_engine.sampling import Sampling
from ..options import content_hash
from ..options.shown import cut, shown
from ..options.sources import is_local, is_uri
from ..options.spec import ModelSpec, Spec
from ..pipelines import generation
from ..pipelines.custom import task_of
from ..pipelines.errors import ModelLoadError
from ..pipelines.factory import weightless
from ..pipelines.generation_control import GenerationControl
from ..pipelines.split_call import sanitized
from ..tasks import REQUIRED
from ..weights import headers, hub, object_store
from . import rehearsal

logger = logging.getLogger(__name__)

#: Pipelines of models checked lately: a job often asks one model more than one thing.
_checked: dict[str, Any] = {}
#: Models that could not be checked from here, and why: a job that runs on this machine cannot load
#: them either.
unreached: dict[str, str] = {}


#: How the names of a tokenizer's files begin.
_OF_TOKENIZERS = ("tokenizer", "vocab", "merges", "spiece", "sentencepiece", "source", "target")
_STAGES = ("preprocess", "forward", "postprocess")
#: Keywords of `from_pretrained` with which weights may have any shape, or come from other files.
_OTHER_SHAPES = frozenset({"ignore_mismatched_sizes", "gguf_file", "subfolder"})
#: Whether a pipeline class has use for a processor; None: it may.
_PROCESSORS = ("_load_processor", "_load_image_processor", "_load_feature_extractor")


def check_task(
    spec: Spec, replaced: Collection[str] = (), row_parameters: Collection[str] = ()
) -> None:
    """Load everything but the weights, and try the parameters on it.

    `replaced`: "preprocess" or "postprocess", of which the user has an own; `row_parameters`: the
    parameters that rows have for themselves.

    Raises:
      ModelLoadError: the model's files are not there, not readable, or of another task.
      ValueError: a parameter has a value that the task refuses, or nobody reads it.

    """
    if spec.model.engine == "vllm":
        arguments.check_options(spec.model.engine_options)
    pipe = weightless_pipeline(spec.model)
    if pipe is None:
        return
    _check_sources(spec.model, type(pipe))
    _check_shapes(spec.model, pipe.model)
    try:
        stages = sanitized(pipe, spec.parameters)
        generation.check_generation(pipe, stages[1])
        generation.check_names(pipe, spec.parameters.get("generate_kwargs"))
        generation.check_speech(
            pipe.model, {**spec.parameters, **(spec.parameters.get("generate_kwargs") or {})}
        )
        if "postprocess" not in replaced:
            _check_processor(pipe, spec)
        if spec.model.engine == "vllm":
            Sampling(pipe, spec.parameters)
        GenerationControl(pipe, spec.parameters, stages[1]).check(row_parameters, replaced)
    except (AttributeError, KeyError, ValueError, TypeError) as error:
        given = ", ".join(f"{name}={shown(value)}" for name, value in spec.parameters.items())
        raise ValueError(f"{spec.task}: {_reason(error)} (given: {given})") from error
    if "preprocess" not in replaced:
        rehearsal.rehearse(pipe, task_of(spec.model), spec.parameters)
    if replaced:
        _check_read(pipe, spec, stages, replaced)
    if spec.model.resize_on_device:
        _check_resize(pipe, spec, replaced)


def _check_sources(model: ModelSpec, cls: type[Any]) -> None:
    """Raises ValueError for a tokenizer or processor that the task does not have."""
    loads = {"tokenizer": ("_load_tokenizer",), "processor": _PROCESSORS}
    for name, flags in loads.items():
        source = getattr(model, name)
        reads = name == "processor" and getattr(cls, "_load_video_processor", None)
        if source is None or reads:
            continue
        if all(getattr(cls, flag, None) is False for flag in flags):
            raise ValueError(f"{model.task} has no {name}, got {name}={shown(source)}")


def _check_shapes(spec: ModelSpec, model: Any) -> None:
    """Raises ValueError for options that give the model's head another shape than the checkpoint.

    Only a head's weights are compared: those of the model below it may be saved in another form.
    """
    options, base = spec.model_kwargs, getattr(model, "base_model_prefix", "")
    if not options or not base or not is_local(spec.source):
        return
    if options.keys() & _OTHER_SHAPES or spec.quantization_config is not None:
        return
    if getattr(model.config, "quantization_config", None) is not None:
        return
    saved: dict[str, tuple[int, ...]] = {}
    for path in headers.files(spec.source):
        saved |= headers.shapes(path)
    for name, weight in model.named_parameters():
        own, found = tuple(weight.shape), saved.get(name)
        if found is not None and found != own and not name.startswith(f"{base}."):
            raise ValueError(
                f"model_kwargs={shown(options)}: {name} has the shape {found} in the "
                f"checkpoint and {own} in the model"
            )


#: What a task's postprocess calls of the model's image processor: one of these methods.
_POSTPROCESSES = {
    "object-detection": ("post_process_object_detection",),
    "depth-estimation": ("post_process_depth_estimation",),
    "image-segmentation": tuple(
        f"post_process_{kind}_segmentation" for kind in ("panoptic", "instance", "semantic")
    ),
}


def _check_processor(pipe: Any, spec: Spec) -> None:
    """Raises ValueError for a model of another task, or a kind of segmentation it does not know.

    Its image processor then lacks what would be called of it after the model has run.
    """
    if spec.model.pipeline_class is not None:
        return
    processor, subtask = getattr(pipe, "image_processor", None), spec.parameters.get("subtask")
    if subtask is not None and not hasattr(processor, f"post_process_{subtask}_segmentation"):
        raise ValueError(f"{type(processor).__name__} has no subtask {shown(subtask)}")
    needed = _POSTPROCESSES.get(spec.task, ())
    if needed and pipe.tokenizer is None and not any(hasattr(processor, each) for each in needed):
        raise ValueError(
            f"{type(processor).__name__}, the processor of {type(pipe.model).__name__}, has no "
            f"{' or '.join(needed)}: the model is one of another task"
        )


def _check_read(pipe: Any, spec: Spec, stages: Any, replaced: Collection[str]) -> None:
    """Raises ValueError for a parameter that only stages read which the user has replaced."""
    known = task_of(spec.model).parameters
    for name in spec.parameters:
        if known.get(name) is REQUIRED:
            continue
        others = {key: value for key, value in spec.parameters.items() if key != name}
        try:
            without = sanitized(pipe, others)
        except (KeyError, ValueError, TypeError):
            continue  # another parameter needs it
        readers = {
            stage
            for stage, own, rest in zip(_STAGES, stages, without, strict=True)
            if own.keys() != rest.keys()
        }
        if readers and readers <= set(replaced):
            raise ValueError(
                f"{spec.task}: {name} is read by {' and '.join(sorted(readers))} alone, in whose "
                f"place you have put your own: give {name} to that"
            )


def _check_resize(pipe: Any, spec: Spec, replaced: Collection[str]) -> None:
    """Raises ValueError for a task or a model whose images cannot be resized on a device."""
    task = task_of(spec.model)
    has_images = "image" in task.media.values()
    preprocess = rehearsal.first_stage(task, pipe, spec.parameters) if has_images else None
    try:
        if spec.model.pipeline_class is not None or "preprocess" in replaced:
            raise ValueError("its first stage is your own")
        device_resize.check(pipe, preprocess)
    except ValueError as error:
        raise ValueError(f"{spec.task}: resize_on_device must be False here: {error}") from error


def _reason(error: Exception) -> str:
    return cut(f"unknown value {error}" if isinstance(error, KeyError) else str(error))


def weightless_pipeline(model: ModelSpec) -> Any:
    """The model's pipeline without weights; None where the hub cannot be asked from here."""
    try:
        copies = _check_files(model)
        return None if copies is None else _weightless_once(model, copies)
    except Exception as error:
        if hub.out_of_reach(error):
            logger.warning(
                "cannot check the model %r from here: the hub is out of reach", model.source
            )
            reason = str(error).partition("\n")[0]
            unreached[model.source] = (
                f"is not on this machine, and the Hugging Face hub is out of reach ({reason}): set "
                "model to a directory on this machine, or run where the hub can be reached"
            )
            return None
        raise ModelLoadError(
            f"cannot load the model {shown(model.source)}: {error}{_tokenizer_hint(model)}"
        ) from error


def _tokenizer_hint(model: ModelSpec) -> str:
    """Advice for a directory without the tokenizer that the task loads from it; else empty."""
    if not is_local(model.source) or model.tokenizer or model.pipeline_class is not None:
        return ""
    if getattr(task_of(model).pipeline_class(), "_load_tokenizer", False) is not True:
        return ""
    names = os.listdir(model.source) if os.path.isdir(model.source) else ["tokenizer"]
    if any(name.startswith(_OF_TOKENIZERS) or name.endswith(".model") for name in names):
        return ""
    return ". It has no files of a tokenizer: name another model's in tokenizer"


def _check_files(model: ModelSpec) -> str | None:
    """Raises what is wrong with a model's files.

    The names of the copies of what is in stores, if any; None: they cannot be asked from here.
    """
    if is_local(model.source):
        for path in headers.files(model.source):
            headers.check_file(path)
    try:
        if is_uri(model.source):
            object_store.check_weights(model.source)
        sources = [each for each in (model.source, model.tokenizer, model.processor) if each]
        copies = [object_store.directory(each, weights=False) for each in sources if is_uri(each)]
        return content_hash.digest(copies)
    except (FileNotFoundError, NotADirectoryError, ImportError, ValueError):
        raise
    except Exception as error:  # every store has errors of its own; workers may have more rights
        logger.warning("cannot check the model %r from here: %s", model.source, error)
        unreached[model.source] = f"cannot be read from here: {type(error).__name__}: {error}"
        return None


def _weightless_once(model: ModelSpec, copies: str) -> Any:
    key = model.identity + copies
    found = _checked.get(key)
    if found is None:
        if len(_checked) >= 8:
            _checked.clear()
        found = _checked[key] = weightless(model)
    return found

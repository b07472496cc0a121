"""What `engine="auto"` stands for, found out where the pipeline is built."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from ..options import engines
from ..options.engines import VLLM_TASKS, is_installed
from ..options.spec import Spec

logger = logging.getLogger(__name__)


def chosen(spec: Spec, is_updated: bool = False) -> Spec:
    """The spec with the engine that runs its model in place of "auto"; the log says which and why.

    `is_updated`: the model is another one from some time on.
    """
    if spec.model.engine != "auto":
        return spec
    reason = _reason_against_vllm(spec, is_updated)
    if reason is None:
        logger.info("engine='auto': vLLM runs the model %r", spec.model.source)
        return replace(spec, model=replace(spec.model, engine="vllm"))
    logger.info("engine='auto': transformers runs the model %r: %s", spec.model.source, reason)
    model = replace(spec.model, engine="transformers", engine_options={})
    return replace(spec, model=model)


def _reason_against_vllm(spec: Spec, is_updated: bool) -> str | None:
    if spec.task not in VLLM_TASKS:
        return f"vLLM does not answer {spec.task} here"
    if not is_installed("vllm"):
        return "vLLM is not installed"
    given = [*engines.of_transformers(spec.model), *_of_batches(spec), *["updates"] * is_updated]
    if given:
        return f"{given[0]} is not for vLLM"
    if spec.sharing.share == "process":
        return "share='process' is not for vLLM"
    if not spec.model.takes_accelerator or not _has_gpu():
        return "there is no GPU, or device is the CPU"
    return _unserved(spec)


def _of_batches(spec: Spec) -> list[str]:
    limits = {name: getattr(spec.limits, name) for name in ("batch_size", "batch_tokens")}
    limits["max_device_memory"] = spec.sharing.max_device_memory
    return [name for name, value in limits.items() if value is not None]


def _has_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def _unserved(spec: Spec) -> str | None:
    """Why vLLM cannot run a model with these parameters; None: it can."""
    from ..batching.vllm_engine.sampling import Sampling
    from . import preflight

    pipe = preflight.weightless_pipeline(spec.model)
    if pipe is None:
        return "the model cannot be looked at from here"
    architectures = pipe.model.config.architectures or []
    if not _served(architectures):
        return f"vLLM does not serve {', '.join(architectures) or 'it'}"
    try:
        Sampling(pipe, spec.parameters)
    except ValueError as error:
        return str(error)
    return None


def _served(architectures: list[str]) -> bool:
    """Whether vLLM has one of these architectures itself."""
    from vllm import ModelRegistry

    known: Any = ModelRegistry.get_supported_archs()
    return not known.isdisjoint(architectures)

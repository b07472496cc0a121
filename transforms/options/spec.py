"""What to run: a task, a model and their options, validated when they are stated."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from . import acceleration, content_hash
from .engines import check_engine
from .media_limits import MediaLimits
from .shown import shown
from .sources import is_local, model_source

_DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is batched and how much is in flight.

    Raises ValueError for a value that is not a positive number.
    """

    #: Most chunks in one batch. None: as many as `batch_tokens` allows, 512 at most; 1,024 on an
    #: accelerator.
    batch_size: int | None = None
    #: Most padded tokens in one batch. 2,048 fill a CPU; on an accelerator the engine measures
    #: what a batch costs and takes more where that pays.
    batch_tokens: int | None = None
    #: Most elements of one bundle between their features and their answer. Sorting by length
    #: needs many elements to choose from: 2,048 texts come within 2 % of sorting the whole corpus.
    window: int = 2048
    #: Most bytes of features and expected answers in flight for one bundle.
    window_bytes: int = 256 * 1024 * 1024
    #: Most milliseconds that a batch waits for bundles that were answered just now and may bring
    #: more. 0: a batch starts with what is there. A start that costs less is not waited for so
    #: long; 16 threads with bundles of one text were back within 20 on a busy machine.
    max_wait_ms: float = 20.0

    def __post_init__(self) -> None:
        _check_wait(self.max_wait_ms)
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "max_wait_ms":
                continue
            if value is None and item.default is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{item.name} must be a positive integer, got {shown(value)}")


#: Keywords of `from_pretrained` that nobody but the hub may see.
_SECRETS = frozenset({"token", "use_auth_token"})


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which weights to load, and how: two stages with equal ModelSpecs share one engine.

    Raises:
      ValueError: an option has a value that cannot be right on any machine.
      FileNotFoundError: `source` looks like a local path and nothing is there.

    """

    task: str
    #: A hub id, the path of a local directory, or a URI.
    source: str
    revision: str | None = None
    tokenizer: str | None = None
    processor: str | None = None
    #: None: the best device that the worker has.
    device: int | str | None = None
    dtype: str = "auto"
    attn_implementation: str | None = None
    device_map: str | Mapping[str, int | str] | None = None
    #: True, or keywords for torch.compile.
    torch_compile: bool | Mapping[str, Any] = False
    #: One of transformers' configurations, or a mapping that says the same.
    quantization_config: Any = None
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)
    trust_remote_code: bool = False
    #: Whether to answer with weights that the checkpoint does not have.
    allow_random_weights: bool = False
    #: Whether images are resized on the model's device, which rounds in other ways.
    resize_on_device: bool = False
    #: A pipeline class of others: "module:Class", or "module.Class" in the model's repository.
    pipeline_class: str | None = None
    #: What loads its model: names in transformers, or "module:Class".
    model_classes: tuple[str, ...] = ()
    #: What runs the model: one of ENGINES.
    engine: str = "transformers"
    #: Arguments of vLLM's engine, by name.
    engine_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", model_source("model", self.source))
        for name in ("tokenizer", "processor"):
            object.__setattr__(self, name, model_source(name, getattr(self, name)))
        _check_device(self.device)
        object.__setattr__(self, "dtype", _dtype_name(self.dtype))
        for name in ("revision", "attn_implementation"):
            if not isinstance(getattr(self, name), str | None):
                raise ValueError(f"{name} must be a string, got {shown(getattr(self, name))}")
        for name in ("trust_remote_code", "allow_random_weights", "resize_on_device"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, got {shown(getattr(self, name))}")
        if not isinstance(self.model_kwargs, Mapping):
            raise ValueError(f"model_kwargs must be a mapping, got {shown(self.model_kwargs)}")
        object.__setattr__(self, "model_kwargs", dict(self.model_kwargs))
        for name in _SECRETS & self.model_kwargs.keys():
            raise ValueError(
                f"model_kwargs: {name} would be kept in files and shown: set the variable "
                "HF_TOKEN, here and on the workers"
            )
        check_engine(self)
        acceleration.check_device_map(self.device_map, self.device)
        acceleration.check_compile(self.torch_compile)
        acceleration.check_quantization(self.quantization_config)
        for name in self.loading_options:
            if name in self.model_kwargs:
                raise ValueError(f"{name} is given twice: as an option and in model_kwargs")

    @property
    def takes_accelerator(self) -> bool:
        """Whether the model is placed on an accelerator where a worker has one."""
        return self.device_map is not None or self.device not in ("cpu", -1)

    @property
    def loading_options(self) -> dict[str, Any]:
        """The options that are keywords of `from_pretrained`, as far as they are given."""
        given = {
            "attn_implementation": self.attn_implementation,
            "device_map": self.device_map,
            "quantization_config": self.quantization_config,
        }
        # Loading may write into some of them.
        return {name: copy.deepcopy(value) for name, value in given.items() if value is not None}

    @property
    def identity(self) -> str:
        """The same for equal models: what an engine is found by.

        Of a local directory, with what lies there now: a model that was overwritten is another.
        """
        given = [getattr(self, item.name) for item in fields(self)]
        options = [content_hash.of_keywords(x) if isinstance(x, Mapping) else x for x in given]
        sources = [each for each in (self.source, self.tokenizer, self.processor) if each]
        files = [content_hash.of_directory(each) for each in sources if is_local(each)]
        return content_hash.digest((options, files))


_SHARES = ("auto", "process", "machine")
#: Proves that a client of an engine belongs to the job; the same for all jobs of a program.
_KEY = secrets.token_bytes(32)


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """Which processes use one engine, and how long a batch may take.

    Raises ValueError for a value that does not exist, or for two that exclude each other.
    """

    #: "process": each worker process has its own engine. "machine": all of a machine share one
    #: process for each accelerator. "auto": as fits the runner and the device.
    share: str = "auto"
    #: Seconds that a batch may take. None: any time.
    timeout: float | None = None
    #: Bytes of a device that the weights of all models of a job with this limit may take together.
    #: None: any number.
    max_device_memory: int | None = None
    #: How many worker processes the runner has on a machine. None: unknown.
    processes: int | None = 1
    key: bytes = field(default=_KEY, repr=False)

    def __post_init__(self) -> None:
        if self.share not in _SHARES:
            raise ValueError(f"share must be one of {', '.join(_SHARES)}, got {shown(self.share)}")
        timeout = self.timeout
        if timeout is None:
            return
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
            raise ValueError(
                f"batch_timeout must be a positive number of seconds, got {shown(timeout)}"
            )
        if self.share == "process":
            raise ValueError(
                "batch_timeout needs an engine in a process of its own, which can be ended: "
                "share='machine' or 'auto', got 'process'"
            )


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A model, the task's own parameters under Hugging Face's names, and the limits."""

    model: ModelSpec
    parameters: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    media_limits: MediaLimits = field(default_factory=MediaLimits)
    sharing: Sharing = field(default_factory=Sharing)

    @property
    def task(self) -> str:
        """The task's name, aliases resolved."""
        return self.model.task


def _check_wait(value: object) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= value <= 60_000:  # type: ignore[operator]
        raise ValueError(
            f"max_wait_ms must be a number of milliseconds from 0 to 60000, got {shown(value)}"
        )


def _check_device(device: object) -> None:
    if device is None:
        return
    if isinstance(device, int) and not isinstance(device, bool) and device >= -1:
        return
    if isinstance(device, str) and acceleration.DEVICE.fullmatch(device):
        return
    raise ValueError(
        "device must be None (the best the worker has), -1 or 'cpu', the number of an "
        f"accelerator, or a name such as 'cuda:1' or 'mps', got {shown(device)}"
    )


def _dtype_name(dtype: object) -> str:
    name = str(dtype).removeprefix("torch.") if dtype is not None else "auto"
    if name not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {shown(dtype)}")
    return name

"""What to run: a task, a model and their options, validated when they are stated."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fsspec.registry import known_implementations, registry

from .media.limits import MediaLimits

_DEVICE = re.compile(r"cpu|mps|(cuda|xpu|npu|hpu|mlu|musa)(:\d+)?")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(://|::)")
_DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")


def unknown(what: str, name: object, valid: Iterable[str]) -> str:
    """An error message for a name that does not exist: the likely one first, then all."""
    names = sorted(valid)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {name!r}.{hint} Valid: {', '.join(names)}"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is batched and how much is in flight.

    Raises ValueError for a value that is not a positive number.
    """

    #: Most chunks in one batch. None: as many as `batch_tokens` allows, 512 at most.
    batch_size: int | None = None
    #: Most padded tokens in one batch. 2,048 fill a CPU; on an accelerator the engine measures
    #: what a batch costs and takes more where that pays.
    batch_tokens: int | None = None
    #: Most elements of one bundle between their features and their answer. Sorting by length
    #: needs company to choose from: 2,048 texts come within 2 % of sorting the whole corpus.
    window: int = 2048
    #: Most bytes of features and expected answers in flight for one bundle.
    window_bytes: int = 256 * 1024 * 1024

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is None and item.default is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{item.name} must be a positive integer, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which weights to load, and how: two stages with equal ModelSpecs share one engine.

    Raises:
      ValueError: an option has a value that cannot be right on any machine.
      FileNotFoundError: `model` looks like a local path and nothing is there.

    """

    task: str
    model: str
    revision: str | None = None
    tokenizer: str | None = None
    processor: str | None = None
    #: None: the best device that the worker has.
    device: int | str | None = None
    dtype: str = "auto"
    attn_implementation: str | None = None
    model_kwargs: Mapping[str, Any] = field(default_factory=dict)
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        for name in ("model", "tokenizer", "processor"):
            object.__setattr__(self, name, _source(name, getattr(self, name)))
        _check_device(self.device)
        object.__setattr__(self, "dtype", _dtype_name(self.dtype))
        for name in ("revision", "attn_implementation"):
            if not isinstance(getattr(self, name), str | None):
                raise ValueError(f"{name} must be a string, got {getattr(self, name)!r}")
        if not isinstance(self.trust_remote_code, bool):
            raise ValueError(
                f"trust_remote_code must be True or False, got {self.trust_remote_code!r}"
            )
        if not isinstance(self.model_kwargs, Mapping):
            raise ValueError(f"model_kwargs must be a mapping, got {self.model_kwargs!r}")

    @property
    def identity(self) -> str:
        """The same for equal models: what an engine is found by."""
        kwargs = sorted(self.model_kwargs.items())
        values = [getattr(self, item.name) for item in fields(self) if item.name != "model_kwargs"]
        return repr((values, kwargs))


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A model, the task's own parameters under Hugging Face's names, and the limits."""

    model: ModelSpec
    parameters: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    media_limits: MediaLimits = field(default_factory=MediaLimits)

    @property
    def task(self) -> str:
        """The task's name, aliases resolved."""
        return self.model.task


def is_uri(source: str) -> bool:
    """Whether a model source is a URI that fsspec reads: s3://…, gs://…, memory://…."""
    return _URI.match(source) is not None


def is_local(source: str) -> bool:
    """Whether a model source is a path of this machine rather than a hub id or a URI."""
    if is_uri(source):
        return False
    looks = source.startswith((".", "/", "~", os.sep)) or source.count("/") > 1
    return looks or os.path.isdir(source)


def _source(name: str, source: object) -> str | None:
    """The source as workers can read it: a hub id or URI as given, a directory's full path."""
    if source is None and name != "model":
        return None
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if not isinstance(source, str) or not source:
        raise ValueError(
            f"{name} must be a Hugging Face model id, a local directory or a URI, got "
            f"{source!r:.200}; "
            "a loaded object cannot be sent to the workers: save_pretrained() it and pass the "
            "directory"
        )
    if is_uri(source):
        protocol = source.partition(":")[0]
        known = {*registry, *known_implementations}
        if protocol not in known:
            raise ValueError(f"{name}={source!r}: {unknown('protocol', protocol, known)}")
    if not is_local(source):
        return source
    path = os.path.abspath(os.path.expanduser(source))
    if not os.path.isdir(path):
        raise FileNotFoundError(f"{name}: there is no directory {source!r} (looked at {path})")
    return path


def _check_device(device: object) -> None:
    if device is None:
        return
    if isinstance(device, int) and not isinstance(device, bool) and device >= -1:
        return
    if isinstance(device, str) and _DEVICE.fullmatch(device):
        return
    raise ValueError(
        "device must be None (the best the worker has), -1 or 'cpu', the number of an "
        f"accelerator, or a name such as 'cuda:1' or 'mps', got {device!r}"
    )


def _dtype_name(dtype: object) -> str:
    name = str(dtype).removeprefix("torch.") if dtype is not None else "auto"
    if name not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {dtype!r}")
    return name

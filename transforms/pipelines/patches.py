"""Everything of transformers and diffusers that is replaced in the process, and nothing else.

`install` replaces five functions of transformers when the first pipeline is built, not when this
package is imported; `install_in_diffusers` one of diffusers. They stay replaced for as long as
the process lives. Each calls the one that it stands for, with the same arguments, and gives what
that gives; stock pipelines load the same models and answer the same as before.

- `pipelines.load_model` asks `loading_with` in the calling thread, and no other, how to load.
- `modeling_utils.local_torch_dtype` and `PreTrainedModel._initialize_missing_keys`, of all threads:
  a model is constructed when no other one is and, under another dtype than torch's default, when
  no thread computes (see construction_lock.py). Stock code that loads a model waits in the same
  way.
- `PreTrainedModel._finalize_model_loading`, of all threads: weights are tied when no model is
  constructed.
- The same, `load_adapter`, and diffusers'
  `ModelMixin._load_pretrained_model`, tell `recorded`, in the calling thread and no other, which
  weights a checkpoint, or an adapter's, does not have.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
import transformers.pipelines
from transformers import modeling_utils

from .construction_lock import computing

_local = threading.local()
_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A model that was loaded, or failed to, and what its checkpoint does not have."""

    model: Any
    #: The weights that were made in place of missing ones, by their names.
    made: Mapping[str, torch.Tensor]
    #: Weights of other shapes than the model's: name, shape in the checkpoint, shape in the model.
    mismatched: Sequence[tuple[str, Any, Any]] = ()


@contextlib.contextmanager
def loading_with(loader: Callable[..., Any]) -> Iterator[None]:
    """Have transformers' factory load its model by `loader(stock, model, **keywords)` in here."""
    install()
    _local.loader = loader
    try:
        yield
    finally:
        del _local.loader


@contextlib.contextmanager
def recorded() -> Iterator[list[Loaded]]:
    """A list of the models that this thread loads in here, in the order in which it does."""
    install()
    found: list[Loaded] = []
    around, _local.found = getattr(_local, "found", None), found
    try:
        yield found
    finally:
        _local.found = around


@functools.cache
def _install() -> None:
    _replace(transformers.pipelines, "load_model", _load_model)
    _replace(modeling_utils, "local_torch_dtype", _local_torch_dtype)
    _replace(modeling_utils.PreTrainedModel, "_initialize_missing_keys", _initialize_missing_keys)
    _replace(modeling_utils.PreTrainedModel, "_finalize_model_loading", _finalize, staticmethod)
    _replace(modeling_utils.PreTrainedModel, "load_adapter", _load_adapter)


def install() -> None:
    """Replace what is replaced in transformers; once."""
    with _lock:
        _install()


@functools.cache
def _install_in_diffusers() -> None:
    mixin = importlib.import_module("diffusers.models.modeling_utils").ModelMixin
    stock = mixin._load_pretrained_model.__func__

    def _load_pretrained_model(cls: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        loaded, missing, *rest = stock(cls, model, *args, **kwargs)
        _tell(Loaded(loaded, _named(loaded, missing)))
        return loaded, missing, *rest

    mixin._load_pretrained_model = classmethod(functools.wraps(stock)(_load_pretrained_model))


def install_in_diffusers() -> None:
    """Replace what is replaced in diffusers; once."""
    with _lock:
        _install_in_diffusers()


def _replace(owner: Any, name: str, stand_in: Any, kind: Any = lambda function: function) -> None:
    """Put `stand_in(stock, …)` in the place of what an object has under a name."""
    stock = getattr(owner, name)

    @functools.wraps(stock)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        return stand_in(stock, *args, **kwargs)

    setattr(owner, name, kind(replaced))


def _load_model(stock: Any, *args: Any, **kwargs: Any) -> Any:
    loader = getattr(_local, "loader", None)
    return stock(*args, **kwargs) if loader is None else loader(stock, *args, **kwargs)


@contextlib.contextmanager
def _local_torch_dtype(stock: Any, dtype: torch.dtype, *args: Any) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(computing.constructing())
        if dtype != torch.get_default_dtype():
            stack.enter_context(computing.excluded())
        stack.enter_context(stock(dtype, *args))
        yield


def _initialize_missing_keys(stock: Any, *args: Any, **kwargs: Any) -> Any:
    with computing:
        return stock(*args, **kwargs)


def _finalize(stock: Any, model: Any, config: Any, info: Any) -> Any:
    try:
        # Constructing a model, transformers ties no weights: of any model, in any thread.
        with computing.constructing():
            found = stock(model, config, info)
    except RuntimeError:
        _tell(Loaded(None, {}, sorted(info.mismatched_keys)))
        raise
    made = _named(model, found.missing_and_mismatched())
    _tell(Loaded(model, made, sorted(info.mismatched_keys)))
    return found


def _load_adapter(stock: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
    found = stock(model, *args, **kwargs)
    _tell(Loaded(model, _named(model, found.missing_and_mismatched())))
    return found


def _tell(loaded: Loaded) -> None:
    found = getattr(_local, "found", None)
    if found is not None:
        found.append(loaded)


def _named(model: Any, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """A model's parameters and buffers of these names, as far as it has them."""
    known = dict(itertools.chain(model.named_parameters(), model.named_buffers()))
    return {name: known[name] for name in sorted(names) if name in known}

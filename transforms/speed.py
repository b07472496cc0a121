"""Options that make a model faster or smaller: checked when stated, applied when it loads."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AutoQuantizationConfig
from transformers.utils.quantization_config import QuantizationConfigMixin

from .failures import EngineError, breaks_engine, is_out_of_memory
from .names import unknown

if TYPE_CHECKING:
    from .spec import ModelSpec

logger = logging.getLogger(__name__)

T = TypeVar("T")

DEVICE = re.compile(r"cpu|mps|(cuda|xpu|npu|hpu|mlu|musa)(:\d+)?")
_PLANS = ("auto", "balanced", "balanced_low_0", "sequential")


def check(model: ModelSpec) -> None:
    """Raise ValueError for what cannot be right on any machine."""
    _check_device_map(model.device_map, model.device)
    _check_compile(model.torch_compile)
    _check_quantization(model.quantization_config)
    for name in loading(model):
        if name in model.model_kwargs:
            raise ValueError(f"{name} is given twice: as an option and in model_kwargs")


def loading(model: ModelSpec) -> dict[str, Any]:
    """The keywords for `from_pretrained`."""
    given = {
        "attn_implementation": model.attn_implementation,
        "device_map": model.device_map,
        # Loading may write into both.
        "quantization_config": model.quantization_config,
    }
    return {name: copy.deepcopy(value) for name, value in given.items() if value is not None}


def _check_device_map(device_map: object, device: object) -> None:
    if device_map is None:
        return
    if device is not None:
        raise ValueError(
            "device and device_map exclude each other, got "
            f"device={device!r} and device_map={device_map!r}"
        )
    if isinstance(device_map, str) and device_map in _PLANS:
        return
    places = device_map if isinstance(device_map, Mapping) else {"": device_map}
    if places and all(isinstance(name, str) and _is_place(to) for name, to in places.items()):
        return
    raise ValueError(
        f"device_map must be one of {', '.join(_PLANS)}, a device, or a mapping from modules "
        f"to devices (0, 'cuda:1', 'cpu', 'disk'), got {device_map!r}"
    )


def _is_place(device: object) -> bool:
    if isinstance(device, int) and not isinstance(device, bool):
        return device >= 0
    if not isinstance(device, str | torch.device):
        return False
    return str(device) == "disk" or DEVICE.fullmatch(str(device)) is not None


def _check_compile(given: object) -> None:
    if isinstance(given, bool):
        return
    if not isinstance(given, Mapping):
        raise ValueError(
            "torch_compile must be True, False or a mapping of torch.compile's keywords, "
            f"got {given!r}"
        )
    valid = set(inspect.signature(torch.compile).parameters) - {"model", "disable"}
    for name in given:
        if name not in valid:
            raise ValueError(f"torch_compile: {unknown('keyword', name, valid)}")
    if given.get("backend") not in (None, "inductor"):
        return  # the workers may have what this machine has not
    try:
        torch.compile(_nothing, **compile_keywords(given))
    except (RuntimeError, ValueError, TypeError) as error:
        raise ValueError(f"torch_compile={dict(given)!r}: {error}") from error


def _nothing() -> None:
    """What the keywords are tried on."""


def compile_keywords(given: bool | Mapping[str, Any]) -> dict[str, Any]:
    """The keywords for torch.compile. Batches are of many shapes: one program for all of them."""
    keywords = {} if isinstance(given, bool) else dict(given)
    return keywords if "dynamic_shapes" in keywords else {"dynamic": True, **keywords}


def _check_quantization(given: object) -> None:
    if given is None or isinstance(given, QuantizationConfigMixin):
        return
    if not isinstance(given, Mapping):
        raise ValueError(
            "quantization_config must be one of transformers' quantization configurations or a "
            f"mapping with a quant_method, got {given!r}"
        )
    bits = given.get("load_in_8bit") or given.get("load_in_4bit")
    method = "bitsandbytes" if bits else given.get("quant_method")
    valid = {
        name.removesuffix("_4bit").removesuffix("_8bit")
        for name in AUTO_QUANTIZATION_CONFIG_MAPPING
    }
    if method not in valid:
        raise ValueError(f"quantization_config: {unknown('quant_method', method, valid)}")
    try:
        config = AutoQuantizationConfig.from_dict(dict(given))
    except ImportError:
        return  # the workers may have what this machine has not
    except Exception as error:
        raise ValueError(f"quantization_config={dict(given)!r}: {error}") from error
    names = {*vars(config), *inspect.signature(type(config)).parameters} - {"kwargs"}
    for name in given:
        if not hasattr(config, name) and name not in names:
            raise ValueError(f"quantization_config: {unknown('option', name, names)}")


@functools.cache
def _keep_device_guard() -> None:
    """Have what torch.compile makes once for its process made on a thread that stays.

    torch 2.11 makes it on the first thread that compiles, where there is no CUDA device, and
    crashes when another compiles after that one has ended: with its engine.
    """
    make = getattr(torch._C, "_ensureCUDADeviceGuardSet", None)
    if make is None or torch.cuda.is_available():
        return
    made = threading.Event()

    def stay() -> None:
        make()
        made.set()
        threading.Event().wait()

    threading.Thread(target=stay, name="device guard", daemon=True).start()
    made.wait()


class Compiled:
    """A model whose calls go through torch.compile."""

    def __init__(self, model: Any, given: bool | Mapping[str, Any]) -> None:
        self._model, self._given = model, given
        self._eager = model.forward
        _keep_device_guard()
        self._compiled = torch.compile(model.forward, **compile_keywords(given))
        model.forward = self._compiled
        #: Whether it ever worked.
        self._works = False

    @contextlib.contextmanager
    def eager(self) -> Iterator[None]:
        """The model without torch.compile."""
        self._model.forward = self._eager
        try:
            yield
        finally:
            self._model.forward = self._compiled

    def run(self, call: Callable[[], T]) -> T:
        """Call what calls the model.

        An element's own error is the one that it has without torch.compile. What fails with it
        alone was answered without it; raises EngineError where it has never worked.
        """
        try:
            result = call()
        except Exception as error:
            if is_out_of_memory(error) or breaks_engine(error):
                raise
            failed = error
        else:
            self._works = True
            return result
        with self.eager():
            result = call()
        if not self._works:
            raise EngineError(
                f"torch_compile={self._given!r}: the model runs, but does not compile: "
                f"{type(failed).__name__}: {failed}"
            ) from failed
        logger.warning("a batch was computed without torch.compile, which failed: %r", failed)
        return result

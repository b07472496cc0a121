"""Options that make a model faster or smaller: checked when stated, applied when it loads."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from .late import Device
from .shown import cut, shown
from .suggest import unknown

DEVICE = re.compile(r"cpu|mps|(cuda|xpu|npu|hpu|mlu|musa)(:\d+)?")
_PLANS = ("auto", "balanced", "balanced_low_0", "sequential")


def check_device_map(device_map: object, device: object) -> None:
    """Raise ValueError for what is no plan, device or mapping to devices, or excludes `device`."""
    if device_map is None:
        return
    if device is not None:
        raise ValueError(
            "device and device_map exclude each other, got "
            f"device={shown(device)} and device_map={shown(device_map)}"
        )
    if isinstance(device_map, str) and device_map in _PLANS:
        return
    places = device_map if isinstance(device_map, Mapping) else {"": device_map}
    if places and all(isinstance(name, str) and _is_place(to) for name, to in places.items()):
        return
    raise ValueError(
        f"device_map must be one of {', '.join(_PLANS)}, a device, or a mapping from modules "
        f"to devices (0, 'cuda:1', 'cpu', 'disk'), got {shown(device_map)}"
    )


def _is_place(device: object) -> bool:
    if isinstance(device, int) and not isinstance(device, bool):
        return device >= 0
    if not isinstance(device, (str, Device)):
        return False
    return str(device) == "disk" or DEVICE.fullmatch(str(device)) is not None


def check_compile(given: object) -> None:
    """Raise ValueError for what torch.compile does not take."""
    if isinstance(given, bool):
        return
    if not isinstance(given, Mapping):
        raise ValueError(
            "torch_compile must be True, False or a mapping of torch.compile's keywords, "
            f"got {shown(given)}"
        )
    import torch

    valid = set(inspect.signature(torch.compile).parameters) - {"model", "disable"}
    for name in given:
        if name not in valid:
            raise ValueError(f"torch_compile: {unknown('keyword', name, valid)}")
    if given.get("backend") not in (None, "inductor"):
        return  # the workers may have what this machine has not
    try:
        torch.compile(_nothing, **compile_keywords(given))
    except (RuntimeError, ValueError, TypeError) as error:
        raise ValueError(f"torch_compile={shown(dict(given))}: {cut(str(error))}") from error


def _nothing() -> None:
    """What the keywords are tried on."""


def compile_keywords(given: bool | Mapping[str, Any]) -> dict[str, Any]:
    """The keywords for torch.compile. Batches are of many shapes: one program for all of them."""
    keywords = {} if isinstance(given, bool) else dict(given)
    return keywords if "dynamic_shapes" in keywords else {"dynamic": True, **keywords}


def check_quantization(given: object) -> None:
    """Raise ValueError for what is no quantization configuration."""
    if given is None:
        return
    from transformers.quantizers.auto import (
        AUTO_QUANTIZATION_CONFIG_MAPPING,
        AutoQuantizationConfig,
    )
    from transformers.utils.quantization_config import QuantizationConfigMixin

    if isinstance(given, QuantizationConfigMixin):
        return
    if not isinstance(given, Mapping):
        raise ValueError(
            "quantization_config must be one of transformers' quantization configurations or a "
            f"mapping with a quant_method, got {shown(given)}"
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
        raise ValueError(f"quantization_config={shown(dict(given))}: {cut(str(error))}") from error
    names = {*vars(config), *inspect.signature(type(config)).parameters} - {"kwargs"}
    for name in given:
        if not hasattr(config, name) and name not in names:
            raise ValueError(f"quantization_config: {unknown('option', name, names)}")

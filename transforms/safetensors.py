"""What the headers of safetensors files say, without reading a weight."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from typing import Any

import torch

#: The floating types of the format, by their names in a header.
_FLOATS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


def files(directory: str) -> list[str]:
    """The paths of a model's safetensors files; none for a model of the hub."""
    if not os.path.isdir(directory):
        return []
    names = sorted(name for name in os.listdir(directory) if name.endswith(".safetensors"))
    return [os.path.join(directory, name) for name in names]


def check(path: str) -> None:
    """Raises ValueError for a file that is cut short or is not safetensors at all."""
    length, header = _header(path)
    ends = [item["data_offsets"][1] for item in header.values()]
    expected = 8 + length + max(ends, default=0)
    size = os.path.getsize(path)
    if size != expected:
        raise ValueError(f"{path} is corrupt: it has {size} bytes and should have {expected}")


def saved_dtype(directory: str) -> torch.dtype:
    """The first floating type in a model's files, as transformers infers it; float32 if none."""
    for path in files(directory)[:1]:
        for item in _header(path)[1].values():
            if item["dtype"] in _FLOATS:
                return _FLOATS[item["dtype"]]
    return torch.float32


def _header(path: str) -> tuple[int, Mapping[str, Any]]:
    """The length of a file's header in bytes, and its tensors in the order of their names."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        text = file.read(min(length, size))
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise ValueError(f"{path} is not a safetensors file, or its start is corrupt")
    header.pop("__metadata__", None)
    return length, dict(sorted(header.items()))

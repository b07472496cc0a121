"""What the headers of safetensors files say, without reading a weight."""

from __future__ import annotations

import json
import logging
import os
import re
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import huggingface_hub
import torch

from ..options.sources import is_local, is_uri

logger = logging.getLogger(__name__)

#: The floating types of the format, by their names in a header.
_FLOATS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}


_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")


def files(directory: str) -> list[str]:
    """The paths of a model's safetensors files; none for a model of the hub."""
    if not os.path.isdir(directory):
        return []
    names = sorted(name for name in os.listdir(directory) if name.endswith(".safetensors"))
    return [os.path.join(directory, name) for name in names]


def check_file(path: str, name: str | None = None) -> None:
    """Raises ValueError for a file that is cut short or is not safetensors at all.

    `name` is what it is called in the message, if not by its path.
    """
    with open(path, "rb") as file:
        check_open(file, os.path.getsize(path), name or path)


def check_open(file: BinaryIO, size: int, name: str) -> None:
    """The same for an open file of a known size. Only its start is read."""
    length, header = _header(file, size, name)
    ends = [item["data_offsets"][1] for item in header.values()]
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ValueError(f"{name} is corrupt: it has {size} bytes and should have {expected}")


def saved_dtype(model: str, revision: str | None = None) -> torch.dtype:
    """The first floating type in a model's files, as transformers infers it; float32 if unknown.

    Of a model of the hub that is not in the cache, only the headers are fetched.
    """
    paths = files(model) or _cached(model, revision)
    return dtype_in(paths[0]) if paths else _first_float(_hub_dtypes(model, revision))


def dtype_in(path: str) -> torch.dtype:
    """The first floating type in a file; float32 if it has none."""
    with open(path, "rb") as file:
        return dtype_of(file, os.path.getsize(path), path)


def dtype_of(file: BinaryIO, size: int, name: str) -> torch.dtype:
    """The first floating type in an open file; float32 if it has none."""
    return _first_float([item["dtype"] for item in _header(file, size, name)[1].values()])


def shapes(path: str) -> dict[str, tuple[int, ...]]:
    """The shapes of the tensors in a file, by name."""
    with open(path, "rb") as file:
        header = _header(file, os.path.getsize(path), path)[1]
    return {name: tuple(item["shape"]) for name, item in header.items()}


def weight_bytes(model: str, revision: str | None, dtype: str) -> int | None:
    """Bytes of a model's weights once they are loaded as `dtype`, or as saved for "auto".

    None where the files do not tell: of a hub model that is not in the cache, of several
    checkpoints beside each other, and of other formats.
    """
    paths = files(model) or _cached(model, revision)
    names = [os.path.basename(path) for path in paths]
    if (names != ["model.safetensors"] and not all(map(_SHARD.fullmatch, names))) or not paths:
        return None
    size = None if dtype == "auto" else getattr(torch, dtype).itemsize
    return sum(_tensor_bytes(path, size) for path in paths)


def _tensor_bytes(path: str, size: int | None) -> int:
    """Bytes of a file's tensors, with `size` bytes for each floating number if it is given."""
    with open(path, "rb") as file:
        tensors = _header(file, os.path.getsize(path), path)[1].values()
    return sum(
        _saved_bytes(item) * (size or saved) // saved
        for item in tensors
        for saved in [_FLOATS[item["dtype"]].itemsize if item["dtype"] in _FLOATS else size or 1]
    )


def _saved_bytes(item: Mapping[str, Any]) -> int:
    start, stop = item["data_offsets"]
    return int(stop - start)


def _first_float(types: list[str]) -> torch.dtype:
    return next((_FLOATS[name] for name in types if name in _FLOATS), torch.float32)


def _cached(model: str, revision: str | None) -> list[str]:
    """The safetensors files of a hub model's snapshot in the cache; none of any other model."""
    if is_uri(model) or is_local(model):  # the hub's client refuses such names
        return []
    config = huggingface_hub.try_to_load_from_cache(model, "config.json", revision=revision)
    return files(os.path.dirname(config)) if isinstance(config, str) else []


def _hub_dtypes(model: str, revision: str | None) -> list[str]:
    try:
        found = huggingface_hub.get_safetensors_metadata(model, revision=revision)
    except Exception as error:
        logger.debug("the dtype of %s is not known from here: %s", model, error)
        return []
    first = next(iter(found.files_metadata.values()))
    return [tensor.dtype for _, tensor in sorted(first.tensors.items())]


def _header(file: BinaryIO, size: int, name: str) -> tuple[int, Mapping[str, Any]]:
    """The length of a file's header in bytes, and its tensors in the order of their names."""
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
    text = file.read(min(length, size))
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise ValueError(f"{name} is not a safetensors file, or its start is corrupt")
    header.pop("__metadata__", None)
    return length, dict(sorted(header.items()))

"""How many bytes a value keeps in memory."""

from __future__ import annotations

import array
import io
import mmap
from collections import UserDict
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import torch

_NUMBER = 32  # bytes that a list takes for each number in it


def nbytes(value: Any) -> int:
    """Bytes of tensors, arrays, texts, files and images in nested mappings, sequences and rows."""
    kind = type(value)
    if kind is torch.Tensor:  # most often; a check of abstract classes takes ten times as long
        return int(value.nbytes)
    if kind is dict:
        return sum(map(nbytes, value.values()))
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.nbytes
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if isinstance(value, list | tuple):
        numbers = len(value) > 0 and type(value[0]) in (int, float)  # an embedding, say
        return _NUMBER * len(value) if numbers else sum(map(nbytes, value))
    if isinstance(value, UserDict):  # several times faster through the dict that is in it
        value = value.data
    elif isinstance(value, beam.Row):
        value = value.as_dict()
    if isinstance(value, Mapping):
        return sum(map(nbytes, value.values()))
    if hasattr(value, "getbands"):  # an image of Pillow's, which is not always installed
        return int(value.width * value.height * len(value.getbands()))
    return _held(value)


def expected_nbytes(known: float | None, seen: int) -> float:
    """How many bytes the next values are expected to have: as many as the larger ones had.

    Args:
      known: what was expected before. None: nothing yet.
      seen: what the last value had.

    """
    return max(seen, 0.9 * (known or 0.0) + 0.1 * seen)


def _held(value: Any) -> int:
    """Bytes of a file in what is no bytes: see `media.fetch.in_memory`."""
    if isinstance(value, memoryview | array.array | mmap.mmap):
        return memoryview(value).nbytes
    return value.getbuffer().nbytes if isinstance(value, io.BytesIO) else 0

"""How many bytes a value keeps in memory."""

from __future__ import annotations

import array
import functools
import io
import mmap
import operator
from collections import UserDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .late import Row, Tensor

_NUMBER = 32  # bytes that a list takes for each number in it


def nbytes(value: Any) -> int:
    """Bytes of tensors, arrays, texts, files and images in nested mappings, sequences and rows."""
    kind: Any = type(value)
    return _measure(kind)(value)


@functools.lru_cache(1024)
def _measure(kind: Any) -> Callable[[Any], int]:
    """What measures values of a class: asked for each of them, a class is looked at once."""
    says_it = isinstance(getattr(kind, "nbytes", None), property)
    if says_it or issubclass(kind, (np.ndarray, Tensor)):
        return operator.attrgetter("nbytes")
    if issubclass(kind, str | bytes | bytearray):
        return len
    if issubclass(kind, list | tuple):
        return _of_items
    if issubclass(kind, UserDict):  # several times faster through the dict that is in it
        return lambda value: sum(map(nbytes, value.data.values()))
    if issubclass(kind, Mapping):
        return lambda value: sum(map(nbytes, value.values()))
    return _of_object


def _of_items(value: Any) -> int:
    numbers = len(value) > 0 and type(value[0]) in (int, float)  # an embedding, say
    return _NUMBER * len(value) if numbers else sum(map(nbytes, value))


def _of_object(value: Any) -> int:
    if isinstance(value, Row):
        return nbytes(value.as_dict())
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

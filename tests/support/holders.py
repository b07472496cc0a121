"""What holds the bytes of a file without being bytes."""

from __future__ import annotations

import array
import ctypes
import io
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import torch


def _mapped(data: bytes) -> mmap.mmap:
    found = mmap.mmap(-1, len(data))
    found[:] = data
    return found


HOLDERS: dict[str, Callable[[bytes], Any]] = {
    "bytearray": bytearray,
    "memoryview": memoryview,
    "memoryview of a part": lambda data: memoryview(b"before" + data)[6:],
    "array": lambda data: array.array("B", data),
    "BytesIO": io.BytesIO,
    "mmap": _mapped,
    "ctypes": lambda data: (ctypes.c_ubyte * len(data))(*data),
    "bytes of numpy": np.bytes_,
    "void of numpy": np.void,
    "uint8 of numpy": lambda data: np.frombuffer(data, np.uint8),
    "int8 of numpy": lambda data: np.frombuffer(data, np.int8),
    "uint8 of torch": lambda data: torch.tensor(list(data), dtype=torch.uint8),
    "buffer of pyarrow": pa.py_buffer,
    "scalar of pyarrow": pa.scalar,
    "large scalar of pyarrow": lambda data: pa.scalar(data, pa.large_binary()),
}

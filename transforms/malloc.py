"""Keeping the memory of a model's activations between batches."""

from __future__ import annotations

import ctypes
import sys

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # names of glibc's malloc.h
_KEPT = 256 * 1024 * 1024  # bytes


def keep() -> None:
    """Let glibc reuse freed buffers of up to 256 MB instead of giving them back to the kernel.

    Every batch needs the same large buffers again; getting them from the kernel, page by page,
    was 6-9 % of the engine's time on a CPU. Does nothing where there is no glibc.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _KEPT)
        mallopt(_TRIM_THRESHOLD, _KEPT)

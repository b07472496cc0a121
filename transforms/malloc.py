"""Keeping the memory of a model's activations between batches."""

from __future__ import annotations

import ctypes
import sys

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # names of glibc's malloc.h
_KEPT = 64 * 1024 * 1024  # bytes


def keep() -> None:
    """Let glibc reuse freed buffers of up to 64 MB instead of giving them back to the kernel.

    Every batch needs the same large buffers again; getting them from the kernel, page by page,
    was 6-9 % of the engine's time on a CPU. Does nothing where there is no glibc.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # Older versions refuse that much: without the first, the second would make it worse.
    if mallopt is not None and mallopt(_MMAP_THRESHOLD, _KEPT):
        mallopt(_TRIM_THRESHOLD, _KEPT)

"""What of the memory of a model's activations is kept between batches, and for how long."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

_glibc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # names of glibc's malloc.h
_KEPT = 64 * 1024 * 1024  # bytes


def keep() -> None:
    """Let glibc reuse freed buffers of up to 64 MB instead of giving them back to the kernel.

    Every batch needs the same large buffers again; getting them from the kernel, page by page,
    was 6-9 % of the engine's time on a CPU. It holds for all of the process, until it ends. Does
    nothing where there is no glibc.
    """
    mallopt = getattr(_glibc, "mallopt", None)
    # Older versions refuse that much: without the first, the second would make it worse.
    if mallopt is not None and mallopt(_MMAP_THRESHOLD, _KEPT):
        mallopt(_TRIM_THRESHOLD, _KEPT)


def trim() -> None:
    """Give the kernel every page that glibc holds and nobody uses; takes about 10 ms.

    What others keep for long, as a writer does that gathers rows, comes to lie between buffers of
    activations: the holes that stay are too small for the next ones, and memory grows. Does
    nothing where there is no glibc.
    """
    malloc_trim = getattr(_glibc, "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)

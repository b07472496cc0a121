"""The process's memory: what is kept between batches, what is given back, and when."""

from __future__ import annotations

import ctypes
import gc
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from ..options.causes import causes

T = TypeVar("T")

_glibc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # names of glibc's malloc.h
_KEPT = 64 * 1024 * 1024  # bytes
_TRIM_SECONDS = 10.0  # between trims of freed memory
_COLLECT_SECONDS = 1.0  # between full garbage collections: one takes up to 0.3


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

    Objects that live long, such as the rows that a writer gathers, come to lie between buffers of
    activations: the gaps that stay are too small for the next buffers, and memory grows. Does
    nothing where there is no glibc.
    """
    malloc_trim = getattr(_glibc, "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def load_outside_gc(load: Callable[[], T]) -> T:
    """Load a model, and keep all objects that were there before it out of garbage collections.

    With a million objects of libraries to look at, each full collection takes 0.3 s from all
    threads: about a tenth of what an element costs beside the model. It holds for all of the
    process, until its last engine is closed: cycles among those objects are not freed meanwhile.
    """
    if not gc.get_freeze_count():
        gc.freeze()
    return load()


def clear_frames(error: BaseException | None) -> None:
    """Let go of the tensors in the frames that an error came through."""
    for each in causes(error):
        traceback.clear_frames(each.__traceback__)


def free_model() -> None:
    """Free a model that nobody refers to any more but objects of its own.

    It came after what `load_outside_gc` keeps out of collections.
    """
    gc.collect()
    trim()
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()


class FreedMemory:
    """Gives freed memory back, but no more often than it is worth."""

    def __init__(self, accelerated: bool) -> None:
        self._accelerated = accelerated
        self._trimmed = -_TRIM_SECONDS
        self._collected = -_COLLECT_SECONDS

    def after_batch(self, now: float) -> None:
        """Give the kernel what a batch has left behind; `now` is on time.perf_counter."""
        if now - self._trimmed > _TRIM_SECONDS:
            trim()
            self._trimmed = now

    def after_failure(self) -> None:
        """Free what a batch that failed has left behind, in cycles, too: they are young."""
        full = time.monotonic() - self._collected > _COLLECT_SECONDS
        gc.collect(2 if full else 1)
        if full:
            self._collected = time.monotonic()
        if self._accelerated:
            torch.accelerator.empty_cache()

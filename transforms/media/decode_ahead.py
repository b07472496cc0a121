"""Decoding of several images at once: by threads, while the thread of the bundle does the rest."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ..options.media_limits import MediaLimits
from .decoding import Decoding
from .in_order import InOrder

if TYPE_CHECKING:
    from ..tasks import Task

_MAX_BYTES = 64 * 1024 * 1024  # of the pixels of images that are decoded ahead


class DecodeAhead(InOrder[Decoding]):
    """Takes examples and gives them back in order, with `Decoding`s in place of files of images.

    Headers are read, and limits checked, before a thread decodes the pixels, whose bytes the
    headers tell. Where there is one processor to compute on, and of images that are not files,
    nothing is decoded ahead.
    """

    def __init__(self, task: Task, limits: MediaLimits) -> None:
        super().__init__(task)
        self._limits = limits

    def through(
        self, examples: Iterable[tuple[Any, Any]], last: bool = False
    ) -> Iterator[tuple[Any, Any]]:
        """Take (token, example) pairs; yield those whose images are decoded: see InOrder."""
        return iter(examples) if threads() < 2 else super().through(examples, last)

    def _begin(self, kind: str, source: Any) -> Decoding | None:
        from . import image

        if kind != "image":
            return None
        given = source.result() if isinstance(source, Future) else source
        if not image.is_file(given):
            return None
        file = image.opened(given, self._limits)
        return Decoding(_pool(), file.decoded, file.nbytes)

    def _size(self, example: Any, work: list[Decoding]) -> int:
        """Of the pixels."""
        return sum(image.nbytes for image in work)

    def _full(self) -> bool:
        several = len(self._waiting) > 1
        return several and (self._nbytes > _MAX_BYTES or len(self._waiting) > 2 * threads())

    def _finish(self, work: list[Decoding]) -> None:
        for image in work:
            image.wait()


@functools.cache
def threads() -> int:
    """How many threads decode in a process: one for each processor that it may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def _pool() -> ThreadPoolExecutor:
    """The threads that decode, the same for all bundles of the process."""
    return ThreadPoolExecutor(threads(), thread_name_prefix="decode")

"""Decoding of several images at once: by threads, while the thread of the bundle does the rest."""

from __future__ import annotations

import collections
import functools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..options.media_limits import MediaLimits
from .decoding import Decoding, map_media

if TYPE_CHECKING:
    from ..tasks import Task

_MAX_BYTES = 64 * 1024 * 1024  # of the pixels of images that are decoded ahead


@dataclass(frozen=True, slots=True)
class _Waiting:
    token: Any
    example: Any
    images: list[Decoding]
    #: Bytes of their pixels.
    nbytes: int

    @property
    def is_decoded(self) -> bool:
        return all(image.done for image in self.images)


class DecodeAhead:
    """Takes examples and gives them back in order, with `Decoding`s in place of files of images.

    Headers are read, and limits checked, before a thread decodes the pixels. The number of waiting
    examples is bounded, and so are the bytes of their images, which the headers tell. Where there
    is one processor to compute on, and of images that are not files, nothing is decoded ahead.
    """

    def __init__(self, task: Task, limits: MediaLimits) -> None:
        self._task = task
        self._limits = limits
        self._waiting: collections.deque[_Waiting] = collections.deque()
        self._nbytes = 0

    def through(
        self, examples: Iterable[tuple[Any, Any]], last: bool = False
    ) -> Iterator[tuple[Any, Any]]:
        """Take (token, example) pairs; yield those whose images are decoded.

        It blocks when too many examples are waiting; with `last`, until all are decoded.
        """
        if threads() < 2:
            yield from examples
            return
        for token, example in examples:
            self._add(token, example)
            while self._waiting and (self._waiting[0].is_decoded or self._full()):
                yield self._first()
        while self._waiting and (last or self._waiting[0].is_decoded):
            yield self._first()

    def clear(self) -> None:
        """Drop the waiting examples."""
        for waiting in self._waiting:
            _cancel(waiting.images)
        self._waiting.clear()
        self._nbytes = 0

    def _add(self, token: Any, example: Any) -> None:
        from . import image

        images: list[Decoding] = []
        size = 0

        def begin(kind: str, source: Any) -> Any:
            nonlocal size
            if kind != "image":
                return source
            given = source.result() if isinstance(source, Future) else source
            if not image.is_file(given):
                return source
            file = image.opened(given, self._limits)
            size += file.nbytes
            images.append(Decoding(_pool(), file.decoded))
            return images[-1]

        try:
            found = map_media(example, self._task, begin)
        except Exception:  # decoding the example raises it again, and reports it
            _cancel(images)
            found, size = example, 0
        self._waiting.append(_Waiting(token, found, images, size))
        self._nbytes += size

    def _full(self) -> bool:
        several = len(self._waiting) > 1
        return several and (self._nbytes > _MAX_BYTES or len(self._waiting) > 2 * threads())

    def _first(self) -> tuple[Any, Any]:
        first = self._waiting.popleft()
        for image in first.images:
            image.wait()
        self._nbytes -= first.nbytes
        return first.token, first.example


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


def _cancel(images: list[Decoding]) -> None:
    for image in images:
        image.cancel()
    images.clear()

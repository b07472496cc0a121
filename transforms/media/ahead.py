"""Media fetched ahead: while one element is decoded, those of the next ones are on their way."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..options.media_limits import MediaLimits
from ..options.sizes import nbytes
from .decoding import each
from .fetch import is_remote, read

if TYPE_CHECKING:
    from ..tasks import Task

_MOST_BYTES = 64 * 1024 * 1024  # of media that are fetched, or expected, and not yet decoded
_UNSEEN = _MOST_BYTES // 4  # what a file is taken to have before one was seen


@dataclass(frozen=True, slots=True)
class _Waiting:
    token: Any
    example: Any
    #: What is on its way.
    files: list[Future[bytes]]
    #: Bytes of what is there.
    nbytes: int

    @property
    def arrived(self) -> bool:
        return all(file.done() for file in self.files)


class Ahead:
    """Elements in, the same elements out, in order, with futures in place of remote media.

    Only media at a remote address are fetched here, by a few threads; nothing is decoded here.
    How many elements wait is bounded, and so is what they take, as far as the sizes of earlier
    files tell. An element that waits for nothing, behind none that does, goes straight through.
    """

    def __init__(self, task: Task, limits: MediaLimits) -> None:
        self._task = task
        self._limits = limits
        self._waiting: collections.deque[_Waiting] = collections.deque()
        self._file_bytes: float | None = None
        self._threads: ThreadPoolExecutor | None = None

    def through(
        self, examples: Iterable[tuple[Any, Any]], last: bool = False
    ) -> Iterator[tuple[Any, Any]]:
        """Take (token, example) pairs; give those whose media are there.

        It waits where too many would wait otherwise, and with `last` for all.
        """
        for token, example in examples:
            self._add(token, example)
            while self._waiting and (self._waiting[0].arrived or self._full()):
                yield self._first()
        while last and self._waiting:
            yield self._first()

    def clear(self) -> None:
        """Forget what is waiting."""
        for waiting in self._waiting:
            _forget(waiting.files)
        self._waiting.clear()

    def close(self) -> None:
        """Forget what is waiting, and let the threads go."""
        self.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None

    def _add(self, token: Any, example: Any) -> None:
        files: list[Future[bytes]] = []

        def fetched(kind: str, source: Any) -> Any:
            if not is_remote(source):
                return source
            files.append(self._fetch(kind, source))
            return files[-1]

        try:
            example = each(example, self._task, fetched)
        except Exception:  # it is met again, and reported, where the element is decoded
            _forget(files)
        own = nbytes(example) if files or self._waiting else 0
        self._waiting.append(_Waiting(token, example, files, own))

    def _fetch(self, kind: str, source: Any) -> Future[bytes]:
        limits = self._limits
        if self._threads is None:
            self._threads = ThreadPoolExecutor(limits.fetches, thread_name_prefix="fetch")
        what = kind.removeprefix("chat_")
        limit = getattr(limits, f"{what}_bytes")
        return self._threads.submit(read, source, limit, what, limits.timeout)

    def _full(self) -> bool:
        if len(self._waiting) > 2 * self._limits.fetches:
            return True
        files = sum(len(waiting.files) for waiting in self._waiting)
        own = sum(waiting.nbytes for waiting in self._waiting)
        expected = files * (_UNSEEN if self._file_bytes is None else self._file_bytes)
        return len(self._waiting) > 1 and expected + own > _MOST_BYTES

    def _first(self) -> tuple[Any, Any]:
        first = self._waiting.popleft()
        for file in wait(first.files).done if first.files else ():
            if file.exception() is None:
                self._learn(len(file.result()))
        return first.token, first.example

    def _learn(self, size: int) -> None:
        """Expect files as large as the larger ones were."""
        known = self._file_bytes or 0.0
        self._file_bytes = max(size, 0.9 * known + 0.1 * size)


def _forget(files: list[Future[bytes]]) -> None:
    for file in files:
        file.cancel()
    files.clear()

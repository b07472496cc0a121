"""Prefetching of remote media: while one example is decoded, the media of the next are fetched."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..options.media_limits import MediaLimits
from ..options.sizes import expected_nbytes, nbytes
from .decoding import map_media
from .fetch import is_remote, read

if TYPE_CHECKING:
    from ..tasks import Task

_MAX_BYTES = 64 * 1024 * 1024  # of media that are fetched, or expected, and not yet decoded
_FIRST_FILE_BYTES = _MAX_BYTES // 4  # the expected size of a file before any has arrived


@dataclass(frozen=True, slots=True)
class _Waiting:
    token: Any
    example: Any
    #: Its media that are being fetched.
    files: list[Future[bytes]]
    #: Bytes of the rest of the example, which is in memory.
    nbytes: int

    @property
    def arrived(self) -> bool:
        return all(file.done() for file in self.files)


class Ahead:
    """Takes examples and gives them back in order, with futures in place of remote media.

    Only media at a remote address are fetched, by a few threads; nothing is decoded. The number of
    waiting examples is bounded, and so are their bytes, as estimated from the sizes of earlier
    files. An example without remote media passes at once, unless an earlier one is still waiting.
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
        """Take (token, example) pairs; yield those whose media have arrived.

        It blocks when too many examples are waiting; with `last`, until all have arrived.
        """
        for token, example in examples:
            self._add(token, example)
            while self._waiting and (self._waiting[0].arrived or self._full()):
                yield self._first()
        while last and self._waiting:
            yield self._first()

    def clear(self) -> None:
        """Drop the waiting examples."""
        for waiting in self._waiting:
            _cancel(waiting.files)
        self._waiting.clear()

    def close(self) -> None:
        """Drop the waiting examples and stop the threads."""
        self.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None

    def _add(self, token: Any, example: Any) -> None:
        files: list[Future[bytes]] = []

        def fetch(kind: str, source: Any) -> Any:
            if not is_remote(source):
                return source
            files.append(self._fetch(kind, source))
            return files[-1]

        try:
            example = map_media(example, self._task, fetch)
        except Exception:  # decoding the example raises it again, and reports it
            _cancel(files)
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
        expected = files * (_FIRST_FILE_BYTES if self._file_bytes is None else self._file_bytes)
        return len(self._waiting) > 1 and expected + own > _MAX_BYTES

    def _first(self) -> tuple[Any, Any]:
        first = self._waiting.popleft()
        for file in wait(first.files).done if first.files else ():
            if file.exception() is None:
                self._file_bytes = expected_nbytes(self._file_bytes, len(file.result()))
        return first.token, first.example


def _cancel(files: list[Future[bytes]]) -> None:
    for file in files:
        file.cancel()
    files.clear()

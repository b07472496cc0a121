"""Prefetching of remote media: while one example is decoded, the media of the next are fetched."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from ..options.media_limits import MediaLimits
from ..options.sizes import expected_nbytes, nbytes
from .fetch import is_remote, read
from .in_order import InOrder

if TYPE_CHECKING:
    from ..tasks import Task

_MAX_BYTES = 64 * 1024 * 1024  # of media that are fetched, or expected, and not yet decoded
_FIRST_FILE_BYTES = _MAX_BYTES // 4  # the expected size of a file before any has arrived


class Ahead(InOrder[Future[bytes]]):
    """Takes examples and gives them back in order, with futures in place of remote media.

    Only media at a remote address are fetched, by a few threads; nothing is decoded. The bytes of
    files that have not arrived are estimated from the sizes of earlier ones.
    """

    def __init__(self, task: Task, limits: MediaLimits) -> None:
        super().__init__(task)
        self._limits = limits
        self._file_bytes: float | None = None
        self._threads: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Drop the waiting examples and stop the threads."""
        self.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False)
            self._threads = None

    def _begin(self, kind: str, source: Any) -> Future[bytes] | None:
        if not is_remote(source):
            return None
        limits = self._limits
        if self._threads is None:
            self._threads = ThreadPoolExecutor(limits.fetches, thread_name_prefix="fetch")
        what = kind.removeprefix("chat_")
        limit = getattr(limits, f"{what}_bytes")
        return self._threads.submit(read, source, limit, what, limits.timeout)

    def _size(self, example: Any, work: list[Future[bytes]]) -> int:
        """Of what is in memory beside the files."""
        return nbytes(example) if work or self._waiting else 0

    def _full(self) -> bool:
        if len(self._waiting) > 2 * self._limits.fetches:
            return True
        files = sum(len(waiting.work) for waiting in self._waiting)
        expected = files * (_FIRST_FILE_BYTES if self._file_bytes is None else self._file_bytes)
        return len(self._waiting) > 1 and expected + self._nbytes > _MAX_BYTES

    def _finish(self, work: list[Future[bytes]]) -> None:
        for file in wait(work).done if work else ():
            if file.exception() is None:
                self._file_bytes = expected_nbytes(self._file_bytes, len(file.result()))

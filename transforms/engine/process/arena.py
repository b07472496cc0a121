"""Memory that a worker and an engine's process share: large tensors cross without a pipe."""

from __future__ import annotations

import bisect
import mmap
import os
import tempfile
from collections.abc import Sequence

_ALIGN = 64  # bytes: vector instructions are fastest on aligned data


class Spans:
    """Which parts of a range of bytes are free; the first that fits is taken."""

    def __init__(self, size: int) -> None:
        self._free = [(0, size)]  # (start, size), ascending, never adjoining

    def take(self, size: int) -> int | None:
        """The start of a part of this size, now taken; None if there is no room."""
        size = _aligned(size)
        for i, (start, room) in enumerate(self._free):
            if room >= size:
                self._free[i : i + 1] = [(start + size, room - size)] if room > size else []
                return start
        return None

    def give(self, start: int, size: int) -> None:
        """Take back a part, joined with what is free beside it."""
        size = _aligned(size)
        i = bisect.bisect(self._free, (start,))
        if i < len(self._free) and self._free[i][0] == start + size:
            size += self._free.pop(i)[1]
        if i and sum(self._free[i - 1]) == start:
            start = self._free[i - 1][0]
            size += self._free.pop(i - 1)[1]
            i -= 1
        self._free.insert(i, (start, size))


def _aligned(size: int) -> int:
    return -(-max(size, 1) // _ALIGN) * _ALIGN


#: A part of an arena: where it starts, and its bytes.
Span = tuple[int, int]


class Arena:
    """Memory that another process can read: `fd` goes to it. Pages are used as they are filled."""

    def __init__(self, size: int) -> None:
        self.fd = anonymous_file()
        os.ftruncate(self.fd, size)
        self._memory = mmap.mmap(self.fd, size)
        self._spans = Spans(size)

    def put(self, buffer: memoryview) -> Span | None:
        """Copy bytes into the arena; None if there is no room."""
        start = self._spans.take(buffer.nbytes)
        if start is None:
            return None
        self._memory[start : start + buffer.nbytes] = buffer
        return start, buffer.nbytes

    def free(self, spans: Sequence[Span]) -> None:
        """Take back what nobody reads any more."""
        for start, size in spans:
            self._spans.give(start, size)

    def close(self) -> None:
        """Give the memory back; the other process keeps what it has mapped."""
        self._memory.close()
        os.close(self.fd)


class MappedArena:
    """An arena of another process."""

    def __init__(self, fd: int) -> None:
        self._memory = memoryview(mmap.mmap(fd, os.fstat(fd).st_size))
        os.close(fd)

    def get(self, span: Span) -> memoryview:
        """The bytes, in place."""
        start, size = span
        return self._memory[start : start + size]


def anonymous_file() -> int:
    """A file without a name, in memory where the system has that."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("pipelines-beam")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())

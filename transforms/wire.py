"""How features and outputs cross between processes: pickled, large tensors in shared memory.

The process that submits features owns an arena: memory without a name that it hands to the engine's
process as a file descriptor, and that is gone with the two. A tensor is copied into it once and
used there in place. Small values, and those for which the arena has no room, cross in the message.
"""

from __future__ import annotations

import bisect
import contextlib
import copyreg
import io
import mmap
import os
import pickle
import socket
import tempfile
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch
from transformers import BatchEncoding

_ALIGN = 64  # bytes: what vector instructions like
_SMALL = 16 * 1024  # bytes: cheaper in the message


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
        self.fd = _anonymous()
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


def _anonymous() -> int:
    """A file without a name, in memory where the system has that."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("pipelines-beam")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class _Pickler(pickle.Pickler):
    dispatch_table = copyreg.dispatch_table.copy()


def _reduce_tensor(tensor: torch.Tensor) -> tuple[Any, ...]:
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype is torch.bfloat16:  # numpy has no such type
        return _bfloat16, (tensor.view(torch.int16).numpy(),)
    return torch.from_numpy, (tensor.numpy(),)


def _reduce_encoding(encoding: BatchEncoding) -> tuple[Any, ...]:
    """Without the tokenizer's own record of the text, which only preprocess reads."""
    return BatchEncoding, (encoding.data,)


_Pickler.dispatch_table[torch.Tensor] = _reduce_tensor
_Pickler.dispatch_table[BatchEncoding] = _reduce_encoding


def _bfloat16(bits: Any) -> torch.Tensor:
    return torch.from_numpy(bits).view(torch.bfloat16)


def dumps(value: Any, arena: Arena) -> tuple[bytes, list[Span]]:
    """A value as bytes, and where its large tensors are in the arena, as far as it has room."""
    spans: list[Span] = []

    def in_message(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < _SMALL or (span := arena.put(raw)) is None:
            return True
        spans.append(span)
        return False

    file = io.BytesIO()
    try:
        _Pickler(file, protocol=5, buffer_callback=in_message).dump(value)
    except BaseException:
        arena.free(spans)
        raise
    return file.getvalue(), spans


def loads(data: bytes, spans: Sequence[Span], arena: MappedArena) -> Any:
    """What `dumps` was given; tensors in the arena are read where they are."""
    buffers = [arena.get(span) for span in spans]
    return pickle.loads(data, buffers=buffers)  # noqa: S301 - from a process of the same job


def message(*values: Any) -> bytes:
    """Values one behind the other, for `parts`."""
    file = io.BytesIO()
    for value in values:
        _Pickler(file, protocol=5).dump(value)
    return file.getvalue()


def parts(data: bytes) -> Iterator[Any]:
    """The values of a message, each read when its turn comes: the last may be unknown here."""
    file = io.BytesIO(data)
    while file.tell() < len(data):
        yield pickle.load(file)  # noqa: S301 - from a process of the same job


def shut(connection: Connection) -> None:
    """End a connection that another thread is waiting at."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as sock:
        sock.shutdown(socket.SHUT_RDWR)

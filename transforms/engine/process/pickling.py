"""How features and outputs cross between processes: pickled, large tensors in shared memory.

The process that submits features owns an arena: memory without a name, of which the engine's
process is given the file descriptor, and that is freed when both have ended. A tensor is copied
into it once and used there in place. Small values, and those for which the arena has no room, are
in the pickle itself.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from ..blocks import numpy_of, torch_of
from .arena import Arena, MappedArena, Span

_SMALL = 16 * 1024  # bytes: cheaper in the message


class _Pickler(pickle.Pickler):
    dispatch_table = copyreg.dispatch_table.copy()


def _reduce_tensor(tensor: torch.Tensor) -> tuple[Any, ...]:
    tensor = tensor.detach().cpu()
    if tensor.dtype is torch.bfloat16:  # numpy has no such type
        return torch_of, (numpy_of(tensor), tensor.dtype)
    return torch.from_numpy, (numpy_of(tensor),)


_Pickler.dispatch_table[torch.Tensor] = _reduce_tensor


def reduce_by(kind: type[Any], reduce: Callable[[Any], tuple[Any, ...]]) -> None:
    """Pickle values of a class as `reduce` says, in place of how they pickle themselves."""
    _Pickler.dispatch_table[kind] = reduce


def dumps(value: Any, arena: Arena) -> tuple[bytes, list[Span]]:
    """A value as bytes, and where in the arena its large tensors are, as far as it has room.

    Raises what pickling the value raises.
    """
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


def dump_each(*values: Any) -> bytes:
    """Values one after the other, for `load_each`."""
    file = io.BytesIO()
    for value in values:
        _Pickler(file, protocol=5).dump(value)
    return file.getvalue()


def load_each(data: bytes) -> Iterator[Any]:
    """What `dump_each` was given, each read in turn: a class of the last may be unknown here."""
    file = io.BytesIO(data)
    while file.tell() < len(data):
        yield pickle.load(file)  # noqa: S301 - from a process of the same job

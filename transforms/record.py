"""What travels between the stages: an element with its features, later with its outputs."""

from __future__ import annotations

import array
import io
import mmap
from collections import UserDict
from collections.abc import Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import torch

from . import wire

_NUMBER = 32  # bytes that a list takes for each number in it


class Record:
    """An element on its way: `chunks` are features after Preprocess, outputs after Forward.

    In one process, tensors are handed on as they are. Between processes they cross as the bytes
    of their own elements: a row of a batch, pickled as a tensor, would take the whole batch along.
    """

    __slots__ = ("chunks", "counts", "element", "example", "model_id")

    def __init__(
        self,
        element: Any,
        example: Any,
        chunks: list[Any],
        counts: list[int],
        model_id: str | None = None,
    ) -> None:
        #: The element that came in: a plain input, a row, or a (key, value) pair.
        self.element = element
        #: What the task is asked about, with stand-ins for images, audio and video.
        self.example = example
        #: One mapping for each chunk that the model sees.
        self.chunks = chunks
        #: How many chunks each input of the example has: a text has one input.
        self.counts = counts
        #: The model that gave the outputs.
        self.model_id = model_id

    def __reduce__(self) -> tuple[Any, ...]:
        content = (self.element, self.example, self.chunks, self.counts, self.model_id)
        return _record, (wire.message(content),)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors in its chunks."""
        return sum(map(nbytes, self.chunks))


def nbytes(value: Any) -> int:
    """Bytes of tensors, arrays, texts, files and images in nested mappings, sequences and rows."""
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.nbytes
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    if isinstance(value, list | tuple):
        numbers = len(value) > 0 and type(value[0]) in (int, float)  # an embedding, say
        return _NUMBER * len(value) if numbers else sum(map(nbytes, value))
    if isinstance(value, UserDict):  # several times faster through the dict that is in it
        value = value.data
    elif isinstance(value, beam.Row):
        value = value.as_dict()
    if isinstance(value, Mapping):
        return sum(map(nbytes, value.values()))
    if hasattr(value, "getbands"):  # an image of Pillow's, which is not always installed
        return int(value.width * value.height * len(value.getbands()))
    return _held(value)


def _held(value: Any) -> int:
    """Bytes of a file in what is no bytes: see `media.fetch.in_memory`."""
    if isinstance(value, memoryview | array.array | mmap.mmap):
        return memoryview(value).nbytes
    return value.getbuffer().nbytes if isinstance(value, io.BytesIO) else 0


def _record(dumped: bytes) -> Record:
    (content,) = wire.parts(dumped)
    return Record(*content)

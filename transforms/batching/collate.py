"""Which chunks may share a batch, how they are joined, and how the answers come apart again.

A batch must not change an answer. Chunks are joined where that is known to be exact:

- padded, where the model is of a kind that ignores padding exactly and its call has nothing in
  it that counts tokens (see padding.py);
- stacked, where all tensors have the same shapes, which is exact for any model that takes a batch;
- not at all, where a model cannot take a batch.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import Cache
from transformers.utils import ModelOutput

from ..engine.blocks import plain
from ..engine.interface import BatchSlot
from ..options.content_hash import tensor_bytes
from ..pipelines.generation import where_generated
from ..pipelines.requests import KEY, Answer
from .device_resize import DECODED
from .padding import NUMBERS_PER_TOKEN, Padding, Side

#: Features with one position per token or sample: (1, positions).
SEQUENCES = ("input_ids", "input_values")


def _token_names(features: Mapping[str, Any], tokens: int) -> list[str]:
    """The features with one position per token."""
    return [
        name
        for name, value in features.items()
        if isinstance(value, torch.Tensor) and value.ndim >= 2 and value.shape[1] == tokens
    ]


def batch_slot(features: Any, padding: Padding, unique_key: Hashable) -> BatchSlot:
    """The chunk's place in the pool. `unique_key` is a key that no other chunk has."""
    if not isinstance(features, Mapping):
        return BatchSlot(unique_key, 1)
    features = plain(features)
    sequence = _sequence(features)
    length = 1 if sequence is None else sequence.shape[1]
    fits = padding.shortest_padded <= length <= padding.longest_padded
    pads = padding.side is not None and fits and "attention_mask" in features
    shapes = _Shapes()
    shapes.add(features, length if pads else None)
    batches = padding.can_batch and length > 0 and shapes.stack
    tokens = length if "input_ids" in features else 1
    size = max(tokens, shapes.numbers // NUMBERS_PER_TOKEN, padding.min_length)
    return BatchSlot(tuple(shapes.key) if batches else unique_key, size)


class _Shapes:
    """The parts of a chunk's features that form its batch key."""

    def __init__(self) -> None:
        self.key: list[tuple[Any, ...]] = []
        #: Whether every tensor has one row.
        self.stack = True
        self.numbers = 0

    def add(self, features: Mapping[str, Any], padded: int | None) -> None:
        """Look at features; those with `padded` positions may be padded."""
        for name, value in features.items():
            if isinstance(value, torch.Tensor):
                shape = value.shape
                is_pixels = value.dtype == torch.uint8  # floats soon: see pixels.py
                self.numbers += value.numel() if value.is_floating_point() or is_pixels else 0
                self.stack = self.stack and len(shape) > 0 and shape[0] == 1
                if len(shape) > 1 and shape[1] == padded:
                    shape = shape[2:]
                self.key.append((name, shape, value.dtype))
            elif isinstance(value, Mapping):
                self.key.append((name, *value))
                self.add(value, None)
            else:
                self.key.append((name, None, _shared(value)))


def _sequence(features: Mapping[str, Any]) -> torch.Tensor | None:
    """The feature whose positions are counted and padded."""
    for name in SEQUENCES:
        value = features.get(name)
        if isinstance(value, torch.Tensor) and value.ndim == 2:
            return value
    return None


def _length(features: Mapping[str, Any]) -> int:
    sequence = _sequence(features)
    return 0 if sequence is None else sequence.shape[1]


def _shared(value: Any) -> Hashable:
    """The part of a feature other than a tensor that must be equal for chunks to share a batch.

    The tensors in it: pipelines that nest them run the first chunk's for the whole batch.
    """
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.dtype, tensor_bytes(value).tobytes()
    if isinstance(value, Mapping):
        return tuple((name, _shared(item)) for name, item in value.items())
    if not isinstance(value, list | tuple):
        return None
    found = tuple(map(_shared, value))
    return found if any(item is not None for item in found) else None


def collate(chunks: Sequence[Any], padding: Padding) -> Any:
    """One mapping of features for all chunks. Tensors (rows, …), anything else as a list."""
    if len(chunks) == 1:
        return chunks[0]
    kind = type(chunks[0])
    chunks = [plain(chunk) for chunk in chunks]
    lengths = [_length(chunk) for chunk in chunks]
    own = own_positions(lengths, padding.side) if len(set(lengths)) > 1 else None
    joined: dict[str, Any] = {}
    for name, value in chunks[0].items():
        values = [chunk[name] for chunk in chunks]
        if isinstance(value, Mapping) and _has_tensors(value):
            joined[name] = collate(values, padding)
        elif not isinstance(value, torch.Tensor) or name == DECODED:
            joined[name] = values
        elif own is not None and value.ndim >= 2 and value.shape[1] == lengths[0]:
            joined[name] = _pad(values, own, fill_of(name, padding))
        else:
            joined[name] = torch.cat(values)
    return kind(joined)


def _has_tensors(features: Mapping[str, Any]) -> bool:
    return any(isinstance(value, torch.Tensor) for value in features.values())


def fill_of(name: str, padding: Padding) -> int:
    """What stands at the padded positions of a feature."""
    if name == "input_ids":
        return padding.pad_token
    return 1 if name in ("special_tokens_mask", "p_mask") else 0


def own_positions(lengths: Sequence[int], side: Side | None) -> np.ndarray[Any, Any]:
    """Which positions of a padded batch are a chunk's own: (rows, longest), bool."""
    longest = max(lengths)
    columns, own = np.arange(longest), np.asarray(lengths)[:, None]
    return columns < own if side == "right" else columns >= longest - own


def _pad(values: list[torch.Tensor], own: np.ndarray[Any, Any], fill: int) -> torch.Tensor:
    """(1, tokens, …) tensors of different lengths as one (rows, longest, …)."""
    rows = [value.numpy()[0] for value in values]
    out = np.full((*own.shape, *rows[0].shape[1:]), fill, dtype=rows[0].dtype)
    # One assignment for all rows: many times faster than a tensor operation for each.
    out[own] = np.concatenate(rows)
    return torch.from_numpy(out)


#: What the pipelines that generate call their sequences: prompt included, and without it.
GENERATED = {"generated_sequence", "output_ids"}


class UnbatchError(Exception):
    """The model's outputs cannot be told apart by row: its chunks must run one at a time."""


@dataclass(frozen=True)
class BatchShape:
    """What is known of a batch when its outputs come apart."""

    lengths: list[int]
    padding: Padding
    #: Features that were joined as lists: given back as they were.
    listed: frozenset[str]
    #: Features and outputs with one position per token.
    tokens: frozenset[str]

    @property
    def longest(self) -> int:
        """Tokens of the padded batch."""
        return max(self.lengths, default=0)


def shape_of(chunks: Sequence[Any], padding: Padding, token_outputs: frozenset[str]) -> BatchShape:
    """What `uncollate` needs to know of these chunks."""
    chunks = [plain(chunk) for chunk in chunks]
    first = chunks[0]
    listed = frozenset(k for k, v in first.items() if not isinstance(v, torch.Tensor))
    lengths = [_length(chunk) for chunk in chunks]
    if not lengths[0]:
        return BatchShape(lengths, padding, listed, frozenset())
    return BatchShape(
        lengths, padding, listed, frozenset(_token_names(first, lengths[0])) | token_outputs
    )


def uncollate(outputs: Any, rows: BatchShape) -> list[Any]:
    """The outputs of each chunk alone, in order, as the model gives them for a batch of one.

    Raises UnbatchError.
    """
    parts = _split(None, outputs, rows)
    generated = isinstance(outputs, Mapping) and GENERATED & set(outputs)
    if generated and (rows.padding.ends or KEY in outputs):
        for part, length in zip(parts, rows.lengths, strict=True):
            _trim_generated(part, rows.longest - length, rows.padding)
            if KEY in part:  # one that has ended by itself
                _trim_answer(part, part[KEY])
    return parts


def _split(name: str | None, value: Any, rows: BatchShape) -> list[Any]:
    count = len(rows.lengths)
    if isinstance(value, torch.Tensor):
        return _split_tensor(name, value, rows)
    if isinstance(value, ModelOutput | UserDict | dict):
        parts = {key: _split(key, item, rows) for key, item in value.items()}
        kind = ModelOutput if isinstance(value, ModelOutput) else type(value)
        return [kind({k: part[i] for k, part in parts.items()}) for i in range(count)]
    if name in rows.listed and isinstance(value, list) and len(value) == count:
        return value
    if isinstance(value, list | tuple):
        nested = [_split(name, item, rows) for item in value]
        return [type(value)(part[i] for part in nested) for i in range(count)]
    if value is not None and rows.padding.require_tensors and not isinstance(value, Cache):
        raise UnbatchError(f"{name}: {type(value).__name__} for {count} chunks")
    if value is None or isinstance(value, str | bool | int | float):
        return [value] * count
    return [None] * count  # a cache: no postprocess reads it


def check_rows(name: str | None, value: torch.Tensor, rows: BatchShape) -> None:
    """Raises UnbatchError where an output has not one row for each chunk."""
    count = len(rows.lengths)
    if value.ndim == 0 or value.shape[0] != count:
        raise UnbatchError(f"{name}: {tuple(value.shape)} for {count} chunks")


def own_bounds(
    name: str | None, value: torch.Tensor, rows: BatchShape
) -> list[tuple[int, int]] | None:
    """Where an output with padded positions has each chunk's own; None: it has none."""
    longest = rows.longest
    aligned = name in rows.tokens and value.ndim >= 2 and value.shape[1] == longest
    if not aligned or min(rows.lengths) == longest:
        return None
    if rows.padding.side == "left":
        return [(longest - n, longest) for n in rows.lengths]
    return [(0, n) for n in rows.lengths]


def _split_tensor(name: str | None, value: torch.Tensor, rows: BatchShape) -> list[torch.Tensor]:
    check_rows(name, value, rows)
    bounds = own_bounds(name, value, rows)
    if bounds is None:
        return list(torch.split(value, 1))
    return [value[i : i + 1, start:stop] for i, (start, stop) in enumerate(bounds)]


def _trim_generated(part: Any, padded: int, padding: Padding) -> None:
    """Cut what the batch added to one element's sequences (1, sequences, tokens).

    Before them, the padding of the prompt; after them, what filled the row until the batch's
    longest was done.
    """
    name, prompt = _where_generated(part)
    sequences = part[name]
    if padding.side == "left" and padded and name == "generated_sequence":
        sequences = sequences[..., padded:]
    rows = sequences.reshape(-1, sequences.shape[-1])
    end = prompt + max(_own_length(row[prompt:].tolist(), padding) for row in rows)
    part[name] = sequences[..., :end]


def _trim_answer(part: Any, answer: Answer) -> None:
    """Cut the sequences of one element where it is known that they end."""
    name, prompt = _where_generated(part)
    end = prompt + max(len(sequence.tokens) for sequence in answer.sequences)
    part[name] = part[name][..., :end]


def _where_generated(part: Any) -> tuple[str, int]:
    where = where_generated(part)
    assert where is not None  # it has one of GENERATED
    return where


def _own_length(tokens: list[int], padding: Padding) -> int:
    """How many generated tokens a sequence has before what was filled in after its end."""
    for i, token in enumerate(tokens):
        if token in padding.ends:
            return i + 1
    end = len(tokens)
    while end and tokens[end - 1] == padding.finished_row_token:
        end -= 1
    return end

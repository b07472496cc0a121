"""Values in messages, cut short: an element may hold a photo, or an hour of sound."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from .nested import columns_of

_MOST_BYTES = 50
_MOST_ITEMS = 20  # of a list or mapping


def shown(value: Any, most: int = 100) -> str:
    """The value's repr on one line of about `most` characters: it may be a whole model."""
    text = repr(_cut(value, most))
    if "\n" in text:  # of a model, a tensor, a table
        text = f"{type(value).__name__}: {' '.join(text.split())}"
    return cut(text, most)


def typed(value: Any) -> str:
    """The value after the name of its type; of None, the value alone."""
    return "None" if value is None else f"{type(value).__name__} {shown(value)}"


def cut(text: str, most: int = 300) -> str:
    """The text, or its beginning and how long it is."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def _cut(value: Any, most: int) -> Any:
    """The value with long bytes, texts, lists and arrays cut, in structs and rows, too."""
    if isinstance(value, bytes | bytearray | memoryview | str):
        return _cut_text(value, most if isinstance(value, str) else _MOST_BYTES)
    if isinstance(value, np.ndarray):
        return _Cut(f"array {value.dtype} {value.shape}")
    if type(value) in (list, tuple):
        more = len(value) - _MOST_ITEMS
        items = [_cut(item, most) for item in value[:_MOST_ITEMS]]
        return type(value)([*items, _Cut(f"… ({more} more)")] if more > 0 else items)
    found = columns_of(value)
    return value if found is None else _cut_row(value, found, most)


def _cut_row(row: Any, columns: Mapping[str, Any], most: int) -> Any:
    names = list(itertools.islice(columns, _MOST_ITEMS))
    items = {name: _cut(columns[name], most) for name in names}
    if isinstance(row, Mapping):
        return items
    listed = ", ".join(f"{name}={item!r}" for name, item in items.items())
    return _Cut(f"{_name_of(type(row))}({listed})")


def _name_of(kind: type) -> str:
    """The name of a class of rows; of those that Beam makes of schemas, one that says something."""
    return "Row" if kind.__name__.startswith("BeamSchema_") else kind.__name__


def _cut_text(text: bytes | bytearray | memoryview | str, most: int) -> Any:
    if len(text) <= most:
        return text
    what = "characters" if isinstance(text, str) else "bytes"
    begin = text[:most] if isinstance(text, str) else bytes(text[:most])
    return _Cut(f"{begin!r}… ({len(text)} {what})")


class _Cut(str):
    """A text that stands for itself in a repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

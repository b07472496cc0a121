"""Structured inputs, converted from what rows can hold: structs with named fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def itself(value: Any) -> Any:
    """The structure, unchanged."""
    return value


def pair(value: Any) -> Any:
    """The two images to compare: a list of them, or of the fields of a struct."""
    is_struct = isinstance(value, Mapping) and not value.keys() & {"bytes", "path"}
    return list(value.values()) if is_struct else value


def word_boxes(value: Any) -> Any:
    """Words with their boxes, [[word, [left, top, right, bottom]], …], also from structs."""
    return list(map(_word_box, value)) if isinstance(value, list) else value


def _word_box(item: Any) -> Any:
    """[word, box]; a struct of box coordinates keeps the order of its fields."""
    if isinstance(item, Mapping):
        item = sorted(item.values(), key=lambda each: not isinstance(each, str))
    if not isinstance(item, list) or len(item) != 2:
        return item
    word, box = item
    return [word, list(box.values()) if isinstance(box, Mapping) else box]

"""Inputs that are structures, made of what rows can hold: structs, whose items have names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def itself(value: Any) -> Any:
    """The structure as it is."""
    return value


def pair(value: Any) -> Any:
    """Images to compare: a list, or the fields of a struct of them."""
    is_struct = isinstance(value, Mapping) and not value.keys() & {"bytes", "path"}
    return list(value.values()) if is_struct else value


def word_boxes(value: Any) -> Any:
    """Words with their boxes, [(word, [left, top, right, bottom]), …], of structs of both, too."""
    return list(map(_word_box, value)) if isinstance(value, list) else value


def _word_box(item: Any) -> Any:
    """A word and its box, in this order; the numbers of a struct are taken in its own order."""
    if isinstance(item, Mapping):
        item = sorted(item.values(), key=lambda each: not isinstance(each, str))
    if not isinstance(item, list) or len(item) != 2:
        return item
    word, box = item
    return [word, list(box.values()) if isinstance(box, Mapping) else box]

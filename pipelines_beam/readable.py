"""Values as text and JSON that people and other programs can read."""

from __future__ import annotations

import base64
import datetime
import json
import math
from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import pandas as pd
from apache_beam.utils.timestamp import Timestamp

from transforms.options.nested import columns_of, plain

#: Characters of the text for a value that no file format has, such as an image in memory.
_LONGEST = 200
#: Of values that people read: characters of a text, items, levels of lists and structs.
_MOST_CHARACTERS, _MOST_ITEMS, _DEEPEST = 400, 40, 4


def jsonable(value: Any) -> Any:
    """The value as JSON can represent it: structs become objects, bytes become base64.

    Times are strings in ISO 8601. Values that pandas treats as missing, NaN and infinities are
    null. Any other value is a string of at most 200 characters.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = _of_numpy(value)
    if is_missing(value) or (isinstance(value, float) and math.isinf(value)):
        return None
    if isinstance(value, str | int | float):
        return value
    fields = columns_of(value)
    if fields is not None:
        return {str(name): jsonable(each) for name, each in fields.items()}
    if isinstance(value, list | tuple | Set):
        return [jsonable(each) for each in value]
    return _text(value)


def as_json(value: Any) -> str | None:
    """The value as JSON text. None and strings are unchanged: None is an empty cell."""
    plain_value = jsonable(value)
    if isinstance(plain_value, str):
        return whole(plain_value)
    return None if plain_value is None else json.dumps(plain_value)


def bounded(value: Any, depth: int = 0) -> Any:
    """The value as JSON can represent it, with as much in it as people read: bytes are counted."""
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value):,} bytes"
    if isinstance(value, str):
        return value[:_MOST_CHARACTERS]
    if isinstance(value, Mapping | list | tuple) and depth > _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        some = list(value.items())[:_MOST_ITEMS]
        return {str(name): bounded(each, depth + 1) for name, each in some}
    if isinstance(value, list | tuple):
        return [bounded(each, depth + 1) for each in value[:_MOST_ITEMS]]
    return jsonable(value)


def is_missing(value: Any) -> bool:
    """Whether pandas treats a value as missing."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return isinstance(value, float | np.floating) and math.isnan(value)


def whole(text: str) -> str:
    """The text with "?" for unpaired surrogates, which no encoding of files can represent."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _of_numpy(value: Any) -> Any:
    """A Python value or list; times stay numpy's, because Python's range of years is smaller."""
    if value.dtype.kind not in "mM":
        return value.tolist()
    return list(value) if value.ndim else value


def _text(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if (time := _time(value)) is not None:
        return time
    own = plain(value)  # of pandas and pyarrow
    return str(value)[:_LONGEST] if own is value else jsonable(own)


def _time(value: Any) -> str | None:
    """A time or duration in ISO 8601; None for other values."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, np.datetime64):
        return str(value)
    if isinstance(value, Timestamp):
        return str(value.to_rfc3339())
    if isinstance(value, datetime.timedelta | np.timedelta64):
        return _duration(value)
    return None


def _duration(value: datetime.timedelta | np.timedelta64) -> str:
    try:
        return str(pd.Timedelta(value).isoformat())
    except (OverflowError, ValueError):  # of centuries
        return str(value)

"""Values as texts and JSON that people and other programs can read."""

from __future__ import annotations

import base64
import datetime
import json
import math
from collections.abc import Set
from typing import Any

import numpy as np
import pandas as pd
from apache_beam.utils.timestamp import Timestamp

from transforms.options.nested import columns_of, plain

#: Of a value that no file format has, such as an image in memory.
_LONGEST = 200


def jsonable(value: Any) -> Any:
    """The value as JSON has it: structs as objects by the names of their fields, bytes as base64.

    Times are texts as in ISO 8601, and what pandas takes for missing, NaN and infinities, which
    JSON has not, are null. What JSON has nothing for is a text that shows it, cut to 200
    characters.
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
    """The value as a JSON text; None stays, so that the cell is empty, and so does a text."""
    found = jsonable(value)
    if isinstance(found, str):
        return whole(found)
    return None if found is None else json.dumps(found)


def is_missing(value: Any) -> bool:
    """Whether a value stands for none, as pandas has it."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return isinstance(value, float | np.floating) and math.isnan(value)


def whole(text: str) -> str:
    """The text, with "?" for halves of characters, which no file's encoding has."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _of_numpy(value: Any) -> Any:
    """Python's own value or list; times stay, which Python may not have."""
    if value.dtype.kind not in "mM":
        return value.tolist()
    return list(value) if value.ndim else value


def _text(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if (time := _time(value)) is not None:
        return time
    found = plain(value)  # of pandas and pyarrow
    return str(value)[:_LONGEST] if found is value else jsonable(found)


def _time(value: Any) -> str | None:
    """A time as in ISO 8601; None for what is none."""
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

"""When a file was changed, as each file system of fsspec says it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

#: Each file system has a name of its own for it.
_NAMES = ("mtime", "LastModified", "last_modified", "updated", "created")


def changed(info: Mapping[str, Any]) -> float | None:
    """When a file was last changed, in seconds since 1970; None where its system does not tell.

    Args:
      info: what the file system's `info` gives.

    """
    for name in _NAMES:
        value = info.get(name)
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, int | float):
            return float(value)
    return None

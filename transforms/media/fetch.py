"""The bytes of a medium, wherever they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


class MediaError(ValueError):
    """A medium cannot be read: the message says why."""


def read(
    source: bytes | str | os.PathLike[str] | Mapping[str, Any], limit: int, what: str
) -> bytes:
    """The bytes of `source`. Raises MediaError."""
    if isinstance(source, Mapping):
        data = source.get("bytes")
        return read(source["path"] if data is None else data, limit, what)
    if not isinstance(source, bytes):
        try:
            with open(source, "rb") as file:
                source = file.read(limit + 1)
        except OSError as error:
            raise MediaError(f"the {what} {source!r} cannot be read: {error}") from error
    if not source:
        raise MediaError(f"the {what} is empty: 0 bytes")
    if len(source) > limit:
        raise MediaError(f"the {what} has more bytes than the limit of {limit:,}")
    return source

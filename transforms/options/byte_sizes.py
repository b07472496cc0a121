"""Numbers of bytes as people write them."""

from __future__ import annotations

import re

from .shown import shown

_UNITS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|K|M|G|T|Ki|Mi|Gi|Ti)?B?")


def byte_count(name: str, value: object) -> int:
    """The number of bytes in an option's value: 20000000000, "20GB", "500 MB" or "18.5GiB".

    Raises ValueError for any other value.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    count = 0 if match is None else int(float(match[1]) * _UNITS[match[2] or ""])
    if not count:
        raise ValueError(
            f"{name} must be a number of bytes, such as 20000000000 or '20GB', got {shown(value)}"
        )
    return count


def size_text(count: float) -> str:
    """A number of bytes for people: 1.5 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"

"""What is said of a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(what: str, name: object, valid: Iterable[str]) -> str:
    """An error message for a name that does not exist: the likely one first, then all."""
    names = sorted(valid)
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {name!r}.{hint} Valid: {', '.join(names)}"

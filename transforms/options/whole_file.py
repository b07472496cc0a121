"""Small files of this machine that several processes read and write."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file in place of one of that name.

    Whoever reads it, and whatever is killed, finds the old text or the new one.
    """
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)

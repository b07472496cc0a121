"""What is kept for the user between commands, in a folder of the user's."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from transforms.options.whole_file import write_whole


def kept_at(kind: str, name: str) -> Path:
    """The path of something that is kept; PIPELINES_BEAM_CACHE names another folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = os.environ.get("PIPELINES_BEAM_CACHE") or os.path.join(cache, "pipelines-beam")
    return Path(folder) / kind / name


def keep(path: Path, text: str) -> None:
    """Keep a text. A folder that cannot be written to is no reason to fail."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)

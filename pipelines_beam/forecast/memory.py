"""The most memory that this process, and those that it has started, have had."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

_PROCESSES = Path("/proc")


def peak() -> int:
    """Bytes: of this process, with the engine's where that runs in a process of its own.

    0 on Windows, which does not tell it in this way.
    """
    if os.name != "posix":
        return 0
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    own = most if sys.platform == "darwin" else most * 1024  # macOS counts bytes
    return own + sum(map(_peak_of, _children(_parents())))


def _parents() -> dict[str, str]:
    """The parent of each process, where the system tells."""
    found = {}
    for stat in _PROCESSES.glob("[0-9]*/stat"):
        try:
            rest = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        except OSError:  # it has ended
            continue
        found[stat.parent.name] = rest.split()[1]
    return found


def _children(parents: dict[str, str]) -> list[str]:
    """The processes below this one."""
    own = Path("/proc/self").resolve().name
    found = [own]
    for each in found:
        found += [process for process, parent in parents.items() if parent == each]
    return found[1:]


def _peak_of(process: str) -> int:
    try:
        status = (_PROCESSES / process / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(match[1]) * 1024 if match else 0

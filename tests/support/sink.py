"""Where a test's pipeline leaves its results: a list of this process.

In a module of its own, since Beam pickles what is not importable together with what it holds.
"""

from __future__ import annotations

from typing import Any

collected: list[Any] = []


def collect(element: Any) -> None:
    """Keep an element."""
    collected.append(element)

"""What the stages of this process have done: for a progress bar beside a local job."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counts:
    """Elements, since the process started or `reset`.

    Bundles on several threads may rarely lose a step: these are shown, not relied upon.
    """

    read: int = 0
    answered: int = 0
    failed: int = 0


_counts = Counts()


def counts() -> Counts:
    """The counts, live."""
    return _counts


def reset() -> None:
    """Begin anew."""
    _counts.read = _counts.answered = _counts.failed = 0

"""The report of a job over files, as a function: it imports what makes it when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..report import Report


def report(output: str) -> Report:
    """What a job over files did: a notebook shows it, `write(path)` keeps it as one HTML file.

    Args:
      output: the path or URI of the job's output, also while the job runs.

    Raises:
      FileNotFoundError: no job over files has begun the output.
      ImportError: matplotlib is missing, which the extra `report` brings.

    """
    from ..report import Report

    return Report(output)

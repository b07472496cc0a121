"""Checking what users give, without a pipeline."""

from __future__ import annotations

from typing import Any

from transforms.tasks import REQUIRED, TASKS


def checked(task: str, given: dict[str, Any]) -> None:
    """Check parameters, beside those that the task must be given."""
    needed = [name for name, value in TASKS[task].parameters.items() if value is REQUIRED]
    TASKS[task].check_parameters({**dict.fromkeys(needed, "cat"), **given})

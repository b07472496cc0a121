"""Task names to tasks."""

from __future__ import annotations

import re

from ..spec import unknown
from .image import TASKS as IMAGE_TASKS
from .task import Task
from .text import TASKS as TEXT_TASKS
from .video import TASKS as VIDEO_TASKS

TASKS: dict[str, Task] = {task.name: task for task in (*TEXT_TASKS, *IMAGE_TASKS, *VIDEO_TASKS)}
ALIASES: dict[str, str] = {alias: task.name for task in TASKS.values() for alias in task.aliases}

_LANGUAGE_PAIR = re.compile(r"translation_[a-z]{2,3}_to_[a-z]{2,3}")


def find(name: str) -> Task:
    """The task of that name or alias. Raises ValueError naming the valid ones."""
    if isinstance(name, str) and _LANGUAGE_PAIR.fullmatch(name):
        return TASKS["translation"]
    found = TASKS.get(ALIASES.get(name, name)) if isinstance(name, str) else None
    if found is None:
        raise ValueError(unknown("task", name, [*TASKS, *ALIASES, "translation_xx_to_yy"]))
    return found


def canonical(name: str) -> str:
    """The name that the pipeline is built with: `translation_en_to_fr` says the languages."""
    return name if _LANGUAGE_PAIR.fullmatch(name) else find(name).name

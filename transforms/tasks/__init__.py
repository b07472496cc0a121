"""One small declaration per task."""

from ..pipelines.custom import class_of, task_of
from .registry import ABSENT, ALIASES, LEFT_OUT, TASKS, canonical, find
from .task import REQUIRED, Task

__all__ = [
    "ABSENT",
    "ALIASES",
    "LEFT_OUT",
    "REQUIRED",
    "TASKS",
    "Task",
    "canonical",
    "class_of",
    "find",
    "task_of",
]

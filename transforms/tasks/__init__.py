"""Tasks: one small declaration each."""

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
    "find",
]

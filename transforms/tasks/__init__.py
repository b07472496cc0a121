"""Tasks: one small declaration each."""

from .registry import ABSENT, ALIASES, LEFT_OUT, TASKS, canonical, find, of_other_name
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
    "of_other_name",
]

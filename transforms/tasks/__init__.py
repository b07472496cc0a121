"""One small declaration per task."""

from .registry import ALIASES, TASKS, canonical, find
from .task import Task

__all__ = ["ALIASES", "TASKS", "Task", "canonical", "find"]

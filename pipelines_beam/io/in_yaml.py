"""ProcessFiles in Beam YAML: its task is a transform type with its config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from apache_beam.yaml.yaml_transform import SafeLineLoader

from transforms import TaskTransform
from transforms.options.shown import shown
from transforms.options.suggest import unknown

from .transform import ProcessFiles

#: Its type in Beam YAML, and the name of its output with failure rows.
TYPE, FAILED = "ProcessFiles", "failed"
#: What the command line may ask of all of them, and its options for that.
OPTIONS = {
    "resume": "--resume",
    "overwrite": "--overwrite",
    "limit": "--limit",
    "max_failures": "--max-failures",
}


def factory(asked: Mapping[str, Any], writes: bool = True) -> Callable[..., ProcessFiles]:
    """What makes the transform of its config.

    Args:
      asked: options in place of the config's.
      writes: whether it is to run; see ProcessFiles.

    """

    def create(files: Any, task: Any, output: str, **config: Any) -> ProcessFiles:
        config = SafeLineLoader.strip_metadata(config) | asked
        files = SafeLineLoader.strip_metadata(files)
        made = ProcessFiles(files, _task(SafeLineLoader.strip_metadata(task)), output, **config)
        made.writes = writes
        return made

    return create


def _task(given: Any) -> TaskTransform:
    """The transform of a task from {type: …, config: …}."""
    if not isinstance(given, Mapping) or not {"type"} <= given.keys() <= {"type", "config"}:
        raise ValueError(
            "task must be {type: a task's transform, config: its options}, got " + shown(given)
        )
    known = {cls.__name__: cls for cls in TaskTransform.__subclasses__()}
    if given["type"] not in known:
        raise ValueError(f"task: {unknown('transform type', given['type'], known)}")
    made: TaskTransform = known[given["type"]](**(given.get("config") or {}))
    return made

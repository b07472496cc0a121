"""A task's transform as JSON, and from it: its type and its config, as in Beam YAML."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from transforms import TaskTransform
from transforms.options.shown import shown
from transforms.options.sources import is_local
from transforms.options.suggest import unknown

_SOURCES = ("model", "tokenizer", "processor")


def task_of(given: Any) -> TaskTransform:
    """The transform of a task from {type: …, config: …}.

    Raises ValueError for another value, and for a type that does not exist.
    """
    if not isinstance(given, Mapping) or not {"type"} <= given.keys() <= {"type", "config"}:
        raise ValueError(
            "task must be {type: a task's transform, config: its options}, got " + shown(given)
        )
    known = {cls.__name__: cls for cls in TaskTransform.__subclasses__()}
    if given["type"] not in known:
        raise ValueError(f"task: {unknown('transform type', given['type'], known)}")
    made: TaskTransform = known[given["type"]](**(given.get("config") or {}))
    return made


def as_json(task: TaskTransform) -> dict[str, Any]:
    """A task's transform as {type, config, left_out}: what JSON holds.

    `left_out` has the options that JSON does not hold, such as functions, as texts. Paths of local
    models are made absolute: the transform may be made again in another folder.
    """
    config, left_out = {}, {}
    for name, value in task.config.items():
        try:
            config[name] = json.loads(json.dumps(value))
        except (TypeError, ValueError):
            left_out[name] = shown(value)
    for name in _SOURCES:
        if isinstance(config.get(name), str) and is_local(config[name]):
            config[name] = os.path.abspath(os.path.expanduser(config[name]))
    return {"type": type(task).__name__, "config": config, "left_out": left_out}


def rebuilt(kept: Mapping[str, Any], changes: Mapping[str, Any], output: str) -> TaskTransform:
    """The transform of a task that `as_json` gave, with changed options.

    Raises ValueError where an option was left out and is not given now.
    """
    missing = {name: text for name, text in kept["left_out"].items() if name not in changes}
    if missing:
        name, text = next(iter(missing.items()))
        raise ValueError(
            f"the task of {output} has {name}={text}, which no file holds: call "
            f"pipelines_beam.io.retry_failures(task, output) in Python, or name it with --set "
            f"{name}=…"
        )
    return task_of({"type": kept["type"], "config": {**kept["config"], **changes}})

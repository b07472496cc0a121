"""ProcessFiles in Beam YAML: its task is a transform type with its config."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from apache_beam.yaml.yaml_transform import SafeLineLoader

from .task_config import task_of
from .transform import ProcessFiles

#: Its type in Beam YAML, and the name of its output with failure rows.
TYPE, FAILED = "ProcessFiles", "failed"
#: What the command line may ask of all of them.
EXISTING = ("resume", "overwrite")


def factory(existing: str | None) -> Callable[..., ProcessFiles]:
    """What makes the transform of its config.

    Args:
      existing: "resume" or "overwrite", in place of what the config says; None: as it says.

    """

    def create(files: Any, task: Any, output: str, **config: Any) -> ProcessFiles:
        config = SafeLineLoader.strip_metadata(config)
        if existing is not None:
            config |= {name: name == existing for name in EXISTING}
        files = SafeLineLoader.strip_metadata(files)
        return ProcessFiles(files, task_of(SafeLineLoader.strip_metadata(task)), output, **config)

    return create


def steps_in(node: Any) -> Iterator[ProcessFiles]:
    """All transforms of this type in a file, or in a part of it."""
    if isinstance(node, Mapping) and node.get("type") == TYPE:
        yield factory("resume")(**SafeLineLoader.strip_metadata(node.get("config") or {}))
    elif isinstance(node, Mapping | list):
        for each in node.values() if isinstance(node, Mapping) else node:
            yield from steps_in(each)

"""ProcessFiles in Beam YAML: its task is a transform type with its config."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from apache_beam.yaml.yaml_transform import SafeLineLoader

from .output import Output
from .task_config import task_of
from .transform import ProcessFiles

#: Its type in Beam YAML, and the name of its output with failure rows.
TYPE, FAILED = "ProcessFiles", "failed"
#: What the command line may ask of all of them, and its options for that.
OPTIONS = {
    "resume": "--resume",
    "overwrite": "--overwrite",
    "limit": "--limit",
    "max_failures": "--max-failures",
    "reuse": "--no-reuse",
    "audit": "--audit",
}


def factory(asked: Mapping[str, Any], writes: bool = True) -> Callable[..., ProcessFiles]:
    """What makes the transform of its config.

    Args:
      asked: options in place of the config's.
      writes: whether it is to run; see ProcessFiles.

    """

    def create(files: Any, task: Any, output: str, **config: Any) -> ProcessFiles:
        config = _with_asked(SafeLineLoader.strip_metadata(config), asked)
        files = SafeLineLoader.strip_metadata(files)
        made = ProcessFiles(files, task_of(SafeLineLoader.strip_metadata(task)), output, **config)
        made.writes = writes
        return made

    return create


def _with_asked(config: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """A config with what the command line asks; of an audit it asks the share alone."""
    known = config.get("audit")
    if "audit" in asked and isinstance(known, Mapping):
        asked = {**asked, "audit": {**known, "share": asked["audit"]}}
    return {**config, **asked}


def steps_in(node: Any) -> Iterator[ProcessFiles]:
    """All transforms of this type in a file, or in a part of it."""
    if isinstance(node, Mapping) and node.get("type") == TYPE:
        config = SafeLineLoader.strip_metadata(node.get("config") or {})
        yield factory({"resume": True, "overwrite": False})(**config)
    elif isinstance(node, Mapping | list):
        for each in node.values() if isinstance(node, Mapping) else node:
            yield from steps_in(each)


def outputs(node: Any) -> list[str]:
    """The URIs of the outputs of all such transforms in a file, or in a part of it.

    Without those of which the step itself will say what is wrong with them.
    """
    if isinstance(node, Mapping) and node.get("type") == TYPE:
        config = node.get("config")
        output = config.get("output") if isinstance(config, Mapping) else None
        with contextlib.suppress(Exception):  # of any store's library
            return [Output(output).uri] if isinstance(output, str) else []
        return []
    nodes = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    return [uri for each in nodes for uri in outputs(each)]

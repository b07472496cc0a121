"""What Beam cannot read the columns of: it says so in words of its own insides, or in none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from apache_beam.io.filesystems import FileSystems
from apache_beam.yaml.yaml_transform import SafeLineLoader

from transforms.options.shown import shown

_BLOCK = 65_536  # bytes
_BLANK = b" \t\r\n\xef\xbb\xbf"  # the last three: a byte order mark
#: What files of a format have where their columns are known.
_NEEDED = {"ReadFromCsv": "header", "ReadFromJson": "rows"}


def check(kind: str, config: Mapping[str, Any]) -> None:
    """Raises ValueError for a source whose columns nobody can know.

    kind: its type in Beam YAML; config: its own.
    """
    if kind == "Create":
        _check_elements(SafeLineLoader.strip_metadata(config).get("elements"))
    path = config.get("path")
    if kind in _NEEDED and isinstance(path, str):
        _check_file(path, _NEEDED[kind])


def _check_elements(elements: Any) -> None:
    """Raises ValueError where Beam finds no type: for what is null in all elements."""
    if not isinstance(elements, list) or not elements:
        return
    if all(each is None for each in elements):
        raise ValueError("all elements are null: an element must be a row or a value")
    rows = [each for each in elements if isinstance(each, Mapping)]
    if len(rows) < len(elements):
        return
    for name in rows[0]:
        if all(row.get(name) is None for row in rows):
            raise ValueError(
                f"the column {shown(name)} is null in all elements, which leaves its type unknown: "
                "give it a value in one of them, or leave it out"
            )


def _check_file(pattern: str, needed: str) -> None:
    """Raises ValueError for a file without content, where the columns of all are read from it."""
    try:
        paths = [each.path for each in FileSystems.match([pattern], [1])[0].metadata_list]
        if not paths or not _is_blank(paths[0]):
            return
    except Exception:  # every store has errors of its own: Beam's reader meets the same
        return
    if paths[0] == pattern:
        raise ValueError(f"{shown(pattern, 200)} has no {needed}: its columns are unknown")
    raise ValueError(
        f"the columns of {shown(pattern, 200)} are unknown: the first file that matches, "
        f"{shown(paths[0], 200)}, has no {needed}"
    )


def _is_blank(path: str) -> bool:
    with FileSystems.open(path) as file:
        while block := file.read(_BLOCK):
            if block.strip(_BLANK):
                return False
    return True


def without_nulls(node: Any) -> Any:
    """A part of a file without an empty config, and without an error_handling that is null.

    As in Python, where None is what is not given: Beam takes neither.
    """
    if isinstance(node, list):
        return [without_nulls(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    found = {name: without_nulls(each) if name in _INSIDE else each for name, each in node.items()}
    config = found.get("config")
    if config is None:
        found.pop("config", None)
    elif isinstance(config, Mapping) and config.get("error_handling", found) is None:
        found["config"] = {k: v for k, v in config.items() if k != "error_handling"}
    return found


#: The keys under which transforms are.
_INSIDE = ("pipeline", "transforms", "source", "sink", "extra_transforms")

"""Checks of sources whose columns cannot be known: Beam's own errors do not name the reason."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from apache_beam.io.filesystems import FileSystems
from apache_beam.yaml.yaml_transform import SafeLineLoader

from transforms.options.shown import shown

_BLOCK = 65_536  # bytes
_BLANK = b" \t\r\n\xef\xbb\xbf"  # the last three: a byte order mark
#: The part of a file that its columns are read from, by the type of the source.
_NEEDED = {"ReadFromCsv": "header", "ReadFromJson": "rows"}


def check(kind: str, config: Mapping[str, Any]) -> None:
    """Raises ValueError for a source whose columns cannot be known.

    Args:
      kind: its type in Beam YAML.
      config: its `config` in the file.

    """
    if kind == "Create":
        _check_elements(SafeLineLoader.strip_metadata(config).get("elements"))
    path = config.get("path")
    if kind in _NEEDED and isinstance(path, str):
        _check_file(path, _NEEDED[kind])


def _check_elements(elements: Any) -> None:
    """Raises ValueError for elements or columns that are always null: their type is unknown."""
    if not isinstance(elements, list) or not elements:
        return
    for i, each in enumerate(elements):
        _check_dates(i, each)
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


def _check_dates(i: int, element: Any) -> None:
    """Raises ValueError for a date in an element: Beam YAML cannot create one."""
    columns = element if isinstance(element, Mapping) else {None: element}
    for name, value in columns.items():
        if isinstance(value, datetime.date):  # or a datetime
            column = "" if name is None else f", column {shown(name)}"
            raise ValueError(
                f"element {i}{column}: {value} is a date, which Beam cannot create from YAML: in "
                f"quotes it is a text, '{value}'"
            )


def _check_file(pattern: str, needed: str) -> None:
    """Raises ValueError if the first file, which the columns are read from, is empty."""
    try:
        paths = [each.path for each in FileSystems.match([pattern], [1])[0].metadata_list]
        if not paths or not _is_blank(paths[0]):
            return
    except Exception:  # errors of any class; Beam's reader raises them again
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
    """A part of a file without `config` and `error_handling` that are null: Beam refuses both.

    As in Python, None means that they are not given.
    """
    if isinstance(node, list):
        return [without_nulls(each) for each in node]
    if not isinstance(node, Mapping):
        return node
    cleaned = {
        name: without_nulls(each) if name in _INSIDE else each for name, each in node.items()
    }
    config = cleaned.get("config")
    if config is None:
        cleaned.pop("config", None)
    elif isinstance(config, Mapping) and config.get("error_handling", cleaned) is None:
        cleaned["config"] = {k: v for k, v in config.items() if k != "error_handling"}
    return cleaned


#: The keys that contain transforms.
_INSIDE = ("pipeline", "transforms", "source", "sink", "extra_transforms")

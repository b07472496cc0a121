"""Checks of sources whose columns cannot be known: Beam's own errors do not name the reason."""

from __future__ import annotations

import datetime
import io
import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
from apache_beam.io.filesystems import FileSystems
from apache_beam.yaml.yaml_transform import SafeLineLoader

from transforms.options.shown import shown

_BLOCK = 65_536  # bytes
_MARK = b"\xef\xbb\xbf"  # of byte order
_BLANK = b" \t\r\n" + _MARK
#: The part of a file that its columns are read from, by the type of the source.
_NEEDED = {"ReadFromCsv": "header", "ReadFromJson": "rows"}


def check(kind: str, config: Mapping[str, Any]) -> None:
    """Raises ValueError for a source whose columns cannot be known.

    Args:
      kind: its type in Beam YAML.
      config: its `config` in the file.

    """
    config = SafeLineLoader.strip_metadata(config)
    if kind == "Create":
        _check_elements(config.get("elements"))
    path = config.get("path")
    if kind in _NEEDED and isinstance(path, str):
        first = _first_file(path)
        if first is not None:
            _check_file(path, first, _NEEDED[kind])
            if kind == "ReadFromJson" and config.keys() <= {"path", "dtype", "lines"}:
                _check_json(first, config.get("lines", True) is not False)


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


def _first_file(pattern: str) -> str | None:
    """The file that the columns are read from; None where it cannot be found."""
    try:
        paths = [each.path for each in FileSystems.match([pattern], [1])[0].metadata_list]
    except Exception:  # errors of any class; Beam's reader raises them again
        return None
    return paths[0] if paths else None


def _check_file(pattern: str, path: str, needed: str) -> None:
    """Raises ValueError if the first file, which the columns are read from, is empty."""
    try:
        if not _is_blank(path):
            return
    except Exception:  # as in `_first_file`
        return
    if path == pattern:
        raise ValueError(f"{shown(pattern, 200)} has no {needed}: its columns are unknown")
    raise ValueError(
        f"the columns of {shown(pattern, 200)} are unknown: the first file that matches, "
        f"{shown(path, 200)}, has no {needed}"
    )


def _check_json(path: str, by_lines: bool) -> None:
    """Raises ValueError for a line that is no JSON object; for a byte order mark in any file.

    Lines are checked as far as one block of the file. Only the first one, which has the columns,
    must have some: the reader makes a row of nulls of a later {}.
    """
    try:
        with FileSystems.open(path) as file:
            data: bytes = file.read(_BLOCK)
    except Exception:  # as in `_first_file`
        return
    if data.startswith(_MARK):
        raise ValueError(
            f"{shown(path, 200)} begins with a byte order mark, which JSON must not have: save it "
            "as UTF-8 without one"
        )
    whole = data if len(data) < _BLOCK else data[: data.rfind(b"\n") + 1]
    hint = ". A file that is one JSON list is read with lines: false"
    is_first = True
    for i, line in enumerate(whole.split(b"\n") if by_lines else (), 1):
        if line.strip():
            name = f"line {i} of {shown(path, 200)}"
            _check_object(name, line, is_first, hint if data.lstrip().startswith(b"[") else "")
            is_first = False


def _check_object(name: str, line: bytes, needs_columns: bool, hint: str) -> None:
    """Raises ValueError for a line that is no JSON object, or has no columns and needs them."""
    try:
        row = json.loads(line, strict=False)  # Beam's reader, too, takes tabs within strings
    except ValueError as error:
        if _is_read(line):
            return
        raise ValueError(f"{name} is not JSON: {error}{hint}") from error
    if not isinstance(row, Mapping) or (needs_columns and not row):
        raise ValueError(
            f'{name} must be an object such as {{"text": "…"}}, got {shown(row, 200)}{hint}'
        )


def _is_read(line: bytes) -> bool:
    """Whether Beam's reader, which is pandas', takes a line: it allows a comma after the last."""
    try:
        return len(pd.read_json(io.BytesIO(line), orient="records", lines=True)) == 1
    except ValueError:
        return False


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

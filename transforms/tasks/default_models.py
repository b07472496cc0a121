"""The default models in transformers' table of tasks, without importing what the table names."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TABLE = "SUPPORTED_TASKS"


def default_model(task: str) -> Any:
    """The default model of a task of transformers and its revision; or these by framework.

    Importing the table takes seconds: it is read from its source, or imported where that has
    another form.
    """
    try:
        return _defaults()[task]
    except Exception:  # whatever form it has
        from transformers.pipelines import SUPPORTED_TASKS

        return SUPPORTED_TASKS[task]["default"]["model"]


@functools.cache
def _defaults() -> Mapping[str, Any]:
    spec = importlib.util.find_spec("transformers")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    folder = Path(spec.submodule_search_locations[0])
    source = (folder / "pipelines" / "__init__.py").read_text("utf-8")
    found: dict[str, Any] = {}
    for statement in ast.parse(source).body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict() as table) if (
                name == _TABLE
            ):
                for task, entry in _items(table):
                    model = dict(_items(dict(_items(entry))["default"]))["model"]
                    found[task] = ast.literal_eval(model)
    return found


def _items(mapping: Any) -> list[tuple[str, Any]]:
    """The constant keys of a dict's display, and the expressions of their values."""
    keys = map(ast.literal_eval, mapping.keys)
    return list(zip(keys, mapping.values, strict=True))

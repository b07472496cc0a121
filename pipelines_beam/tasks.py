"""The list of tasks: what each takes, what it gives, and what it is called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from transforms.schema import arrow_type
from transforms.tasks import REQUIRED, TASKS, Task

_HEAD = "| task | transform | inputs | columns of a row |\n|---|---|---|---|\n"


def described() -> list[dict[str, Any]]:
    """Every task as plain data, in the order of the table."""
    return [_described(task) for task in TASKS.values()]


def as_json() -> str:
    """Every task with its aliases, inputs, parameters, columns and default model, as JSON."""
    return json.dumps(described(), indent=2, ensure_ascii=False)


def as_markdown() -> str:
    """The README's table."""
    return _HEAD + "".join(f"| {' | '.join(_cells(task))} |\n" for task in TASKS.values())


def as_text() -> str:
    """A table for a terminal: task, transform and columns."""
    rows = [(task.name, task.transform, _columns(task, "{}")) for task in TASKS.values()]
    widths = [max(len(row[i]) for row in rows) + 2 for i in (0, 1)]
    return "\n".join(
        f"{name:<{widths[0]}}{transform:<{widths[1]}}{columns}" for name, transform, columns in rows
    )


def _described(task: Task) -> dict[str, Any]:
    model, revision = task.default()
    return {
        "task": task.name,
        "aliases": list(task.aliases),
        "transform": task.transform,
        "inputs": {
            name: {"types": _type_names(task, name), "required": name not in task.optional_inputs}
            for name in task.inputs
        },
        "parameters": {name: _default(value) for name, value in task.parameters.items()},
        "tokenizer_keywords": task.tokenizer_keywords,
        "generation_keywords": task.generates,
        "open_parameters": task.open_parameters,
        "columns": _arrow(task, {}),
        "columns_with": {
            f"{name}={value!r}": _arrow(task, {name: value}) for name, value in task.choices.items()
        },
        "default_model": model,
        "default_revision": revision,
    }


def _default(value: Any) -> dict[str, Any]:
    return {"required": True} if value is REQUIRED else {"default": value}


def _type_names(task: Task, name: str) -> list[str]:
    return [kind.__name__ for kind in task.inputs[name]]


def _arrow(task: Task, parameters: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(arrow_type(kind)) for name, kind in task.columns(parameters).items()}


def _cells(task: Task) -> tuple[str, ...]:
    names = ", ".join(f"`{name}`" for name in (task.name, *task.aliases))
    inputs = [
        f"{name} (optional)" if name in task.optional_inputs else name for name in task.inputs
    ]
    return names, task.transform, ", ".join(inputs), _columns(task, "`{}`")


def _columns(task: Task, quoted: str) -> str:
    """The columns' names, and those that a parameter puts in their place."""
    usual = ", ".join(task.columns({}))
    found = [usual]
    for name, value in task.choices.items():
        other = ", ".join(task.columns({name: value}))
        if other != usual:
            found.append(f"with {quoted.format(name)}: {other}")
    return "; ".join(found)

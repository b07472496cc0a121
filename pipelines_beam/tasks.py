"""The list of tasks: names, inputs, parameters and columns of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from transforms.rows.schema import arrow_type
from transforms.tasks import REQUIRED, TASKS, Task, find

_HEAD = "| task | transform | inputs | columns of a row |\n|---|---|---|---|\n"


def described() -> list[dict[str, Any]]:
    """Every task as plain data, in the order of the table."""
    return [_described(task) for task in TASKS.values()]


def as_json() -> str:
    """Every task with its aliases, inputs, parameters, columns and default model, as JSON."""
    return _json(described())


def one_as_json(name: str) -> str:
    """One task as JSON. Raises ValueError for an unknown name."""
    return _json(_described(find(name)))


def as_markdown() -> str:
    """The README's table."""
    return _HEAD + "".join(f"| {' | '.join(_cells(task))} |\n" for task in TASKS.values())


def as_text() -> str:
    """A table for a terminal: task, transform, inputs (optional ones in brackets) and columns."""
    return "\n".join(
        _aligned(
            [
                (task.name, task.transform, _inputs(task, "[{}]"), _columns(task, "{}"))
                for task in TASKS.values()
            ]
        )
    )


def one_as_text(name: str) -> str:
    """A full description of one task, for a terminal. Raises ValueError for an unknown name."""
    description = _described(find(name))
    aliases = f" ({', '.join(description['aliases'])})" if description["aliases"] else ""
    parameters = [
        (name, "required" if "required" in each else repr(each["default"]))
        for name, each in description["parameters"].items()
    ]
    blocks = {
        "inputs": _aligned([(name, _kinds(each)) for name, each in description["inputs"].items()]),
        "parameters and their defaults": [*_aligned(parameters), *_more_parameters(description)],
        "columns": _aligned(list(description["columns"].items())),
        **{
            f"columns with {choice}": _aligned(list(columns.items()))
            for choice, columns in description["columns_with"].items()
            if columns != description["columns"]
        },
        "default model": [
            f"{description['default_model']}, revision {description['default_revision']}"
        ],
    }
    return "\n\n".join(
        [
            f"{description['task']}{aliases}: {description['transform']}",
            *("\n  ".join([title, *(lines or ["none"])]) for title, lines in blocks.items()),
        ]
    )


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows as lines with aligned columns."""
    widths = [max(map(len, cells)) + 2 for cells in zip(*rows, strict=True)][:-1]
    return [
        "".join([*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]


def _kinds(described: Mapping[str, Any]) -> str:
    return " or ".join(described["types"]) + ("" if described["required"] else ", optional")


def _more_parameters(described: Mapping[str, Any]) -> list[str]:
    more = {
        "tokenizer_keywords": "and every keyword of the tokenizer's call",
        "generation_keywords": "and every keyword of model.generate",
        "open_parameters": "and those of the model's own pipeline",
    }
    own = described["own_parameters"]
    lines = [text for name, text in more.items() if described[name]]
    return [*lines, f"and {', '.join(own)}, of this project"] if own else lines


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)


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
        "own_parameters": list(task.own_parameters),
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
    return names, task.transform, _inputs(task, "{} (optional)"), _columns(task, "`{}`")


def _inputs(task: Task, optional: str) -> str:
    return ", ".join(
        optional.format(name) if name in task.optional_inputs else name for name in task.inputs
    )


def _columns(task: Task, quoted: str) -> str:
    """The names of the columns, and the names that they have with certain parameters."""
    usual = ", ".join(task.columns({}))
    parts = [usual]
    for name, value in task.choices.items():
        other = ", ".join(task.columns({name: value}))
        if other != usual:
            parts.append(f"with {quoted.format(name)}: {other}")
    return "; ".join(parts)

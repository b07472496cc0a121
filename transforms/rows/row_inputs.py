"""What a row is read for: the columns of its inputs, and of its parameters."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..options.shown import shown
from ..options.suggest import unknown
from ..tasks import Task
from .prompts import Prompt, text_input
from .row_parameters import RowParameters


@dataclass(frozen=True)
class RowInputs:
    """Where the inputs of a task are in a row.

    Raises TypeError for inputs that the task does not have.
    """

    task: Task
    #: A column's name; or, for a task with several inputs, input names to columns.
    input: str | Mapping[str, str] | None
    #: What the text input is made of, in place of a column.
    prompt: Prompt | None
    parameters: RowParameters | None

    def __post_init__(self) -> None:
        if self.input is not None and not (isinstance(self.input, str | Mapping) and self.input):
            raise TypeError(
                f"input must be a column's name or a mapping of inputs to columns, "
                f"got {shown(self.input)}"
            )
        if self.parameters is not None and self.input is None and self.prompt is None:
            raise TypeError("parameters names columns of rows: it needs input, a column, too")
        if self.prompt is not None:
            self._check_prompt(self.prompt)
        if not self.task.open_inputs and self:
            self._check_input()

    def __bool__(self) -> bool:
        """Whether the elements are rows."""
        return self.input is not None or self.prompt is not None

    def _check_prompt(self, prompt: Prompt) -> None:
        name = self.prompted
        if name is None or (prompt.option == "messages" and self.task.lists != "chat"):
            what = "text" if name is None else "chats"
            raise TypeError(f"{prompt.option}: {self.task.name} takes no {what}")
        if isinstance(self.input, str) or name in (self.input or {}):
            raise TypeError(
                f"{prompt.option} makes the input {name!r}: input may only map other inputs to "
                f"columns, got {shown(self.input)}"
            )

    def _check_input(self) -> None:
        names = self.task.inputs
        given = {*self.task.optional_inputs, self.prompted}
        needed = [name for name in names if name not in given]
        if isinstance(self.input, str):
            if needed not in ([], [next(iter(names))]):
                raise TypeError(
                    f"{self.task.name} has several inputs: input must map each of "
                    f"{', '.join(needed)} to a column, got {shown(self.input)}"
                )
            return
        for name in self.input or {}:
            if name not in names:
                raise TypeError(f"{self.task.name}: {unknown('input', name, names)}")
        for name in needed:
            if name not in (self.input or {}):
                raise TypeError(f"{self.task.name}: input does not say which column is {name}")

    @property
    def prompted(self) -> str | None:
        """The input that the prompt makes; None without a prompt."""
        return None if self.prompt is None else text_input(self.task.inputs)

    @functools.cached_property
    def columns(self) -> dict[str, str]:
        """The column of each input that has one, by the input's name."""
        if isinstance(self.input, str):
            return {next(iter(self.task.inputs)): self.input}
        return dict(self.input or {})

    @functools.cached_property
    def columns_read(self) -> tuple[str, ...]:
        """The names of all columns that decide the answer to a row."""
        prompted = () if self.prompt is None else self.prompt.columns
        own = () if self.parameters is None else self.parameters.columns.values()
        return tuple(dict.fromkeys([*self.columns.values(), *prompted, *own]))

    @property
    def source(self) -> str:
        """Where the inputs are, for messages."""
        return f"input={self.input!r}" if self.prompt is None else self.prompt.option

    @property
    def place(self) -> str:
        """Where in a row an input is, for messages."""
        return f"column {shown(self.input)}" if self.prompt is None else self.prompt.option

    def of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs of a row, by their names, given its cells by column. Raises TypeError."""
        inputs = {name: cell(row, column) for name, column in self.columns.items()}
        if self.prompt is not None and self.prompted is not None:
            inputs[self.prompted] = self.prompt.filled(row)
        return inputs

    def check_types(self, fields: Mapping[str, Any]) -> None:
        """Raises ValueError for rows without a column of the prompt or the parameters."""
        for column in () if self.prompt is None else self.prompt.columns:
            if column not in fields:
                raise ValueError(f"{self.source}: {unknown('column', column, fields)}")
        if self.parameters is not None:
            self.parameters.check_types(fields)


def cell(row: Mapping[str, Any], column: str) -> Any:
    """The cell of a column. Raises TypeError if there is none."""
    try:
        return row[column]
    except KeyError:
        raise TypeError(unknown("column", column, map(str, row))) from None

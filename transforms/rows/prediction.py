"""Inferences to the columns that rows gain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apache_beam.typehints.row_type import RowTypeConstraint

from ..options.shown import shown, typed
from ..tasks import Task
from ..tasks.task import Columns
from .converters import Convert, converter


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The columns that a task's prediction adds to a row, and their cells in one inference."""

    task: Task
    parameters: Mapping[str, Any]
    #: Put the whole prediction into one column of this name.
    output: str | None = None
    #: Whether rows have the id of the model that answered, in a column `model_id`.
    versioned: bool = False

    @property
    def columns(self) -> Columns:
        """The columns that a row gains, and their types."""
        columns = self._own_columns
        return {**columns, "model_id": str} if self.versioned else columns

    @property
    def _own_columns(self) -> Columns:
        """The columns without `model_id`."""
        columns = self.task.columns(self.parameters)
        if self.output is None:
            return columns
        if len(columns) == 1:
            return {self.output: next(iter(columns.values()))}
        return {self.output: RowTypeConstraint.from_fields(list(columns.items()))}

    def cells(self, as_mapping: bool) -> Callable[[Any], dict[str, Any]]:
        """A function from an inference to the cells of its columns, without `model_id`.

        It raises ValueError for an inference of several predictions, and TypeError for a value
        that does not fit its column. `as_mapping`: structs become dicts, see `converter`.
        """
        converts = self._converts(as_mapping)

        def cells(inference: Any) -> dict[str, Any]:
            values = self._values(inference)
            return {
                name: _converted(name, convert, values.get(name))
                for name, convert in converts.items()
            }

        return cells

    def columns_of(self) -> Callable[[Sequence[Any]], dict[str, list[Any]]]:
        """A function from inferences to the columns of their cells, structs as dicts.

        It raises an error of any class where `cells` raises one for one of them.
        """
        converts = self._converts(as_mapping=True)

        def columns(inferences: Sequence[Any]) -> dict[str, list[Any]]:
            rows = list(map(self._values, inferences))
            return {
                name: [convert(values.get(name)) for values in rows]
                for name, convert in converts.items()
            }

        return columns

    def _converts(self, as_mapping: bool) -> dict[str, Convert]:
        return {name: converter(kind, as_mapping) for name, kind in self._own_columns.items()}

    def _values(self, inference: Any) -> Mapping[str, Any]:
        """The values of the columns in an inference, as the task has them."""
        values = self.task.values(inference, self.parameters)
        if not isinstance(values, Mapping):
            raise ValueError(f"a row has one prediction, got {shown(values, 200)}")
        if self.output is not None:
            return {self.output: next(iter(values.values())) if len(values) == 1 else values}
        return values

    def collision(self, column: str) -> str:
        """An error message for rows that already have a column that the prediction would add."""
        there = f"the rows have a column {column!r} already"
        if column == "model_id" and self.versioned:
            return f"{there}, where the model's id goes: rename theirs (output='…' does not help)"
        if self.output is not None:
            return f"{there}, so output={column!r} cannot be the prediction's: choose another name"
        return f"{there}, as the prediction would: choose a name for its column with output='…'"


def _converted(name: str, convert: Convert, value: Any) -> Any:
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            f"the prediction's column {name!r} cannot hold {typed(value)}: {error}"
        ) from error

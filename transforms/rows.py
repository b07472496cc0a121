"""Elements to inputs of a task, and predictions back to elements.

Plain elements become PredictionResults; rows (beam.Row, NamedTuple, dict) keep their columns and
gain the prediction's; with `keyed`, the key of each (key, value) pair stays with its value.
"""

from __future__ import annotations

import functools
import json
import typing
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.ml.inference.base import PredictionResult
from apache_beam.typehints import typehints
from apache_beam.typehints.row_type import RowTypeConstraint

from .names import shown, unknown
from .schema import arrow_field, converter, has_files, hub_feature
from .tasks import Task
from .tasks.task import Columns

#: Where `datasets` looks for the types of its columns.
_HUB = b"huggingface"


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Where a transform finds its inputs in an element, and where its predictions go.

    Raises TypeError for inputs that the task does not have.
    """

    task: Task
    parameters: Mapping[str, Any]
    keyed: bool = False
    #: A column's name; or, for a task with several inputs, input names to columns.
    input: str | Mapping[str, str] | None = None
    #: Put the prediction into one column of this name.
    output: str | None = None
    #: Whether rows say which model answered.
    versioned: bool = False

    def __post_init__(self) -> None:
        if self.input is None:
            if self.output is not None:
                raise TypeError("output names a column of rows: it needs input, a column, too")
            return
        if not isinstance(self.input, str | Mapping) or not self.input:
            raise TypeError(
                f"input must be a column's name or a mapping of inputs to columns, "
                f"got {shown(self.input)}"
            )
        if self.task.open_inputs:
            return
        names = self.task.inputs
        needed = [name for name in names if name not in self.task.optional_inputs]
        if isinstance(self.input, str) and len(needed) > 1:
            raise TypeError(
                f"{self.task.name} has several inputs: input must map each of "
                f"{', '.join(needed)} to a column, got {shown(self.input)}"
            )
        if isinstance(self.input, Mapping):
            for name in self.input:
                if name not in names:
                    raise TypeError(f"{self.task.name}: {unknown('input', name, names)}")
            for name in needed:
                if name not in self.input:
                    raise TypeError(f"{self.task.name}: input does not say which column is {name}")

    @property
    def columns(self) -> Columns:
        """The columns that a prediction adds, and their types."""
        columns = self._prediction
        return {**columns, "model_id": str} if self.versioned else columns

    @functools.cached_property
    def _added(self) -> tuple[str, ...]:
        """The names of the columns that rows gain: computed once, looked at for every row."""
        return () if self.input is None else tuple(self.columns)

    @property
    def _prediction(self) -> Columns:
        columns = self.task.columns(self.parameters)
        if self.output is None:
            return columns
        if len(columns) == 1:
            return {self.output: next(iter(columns.values()))}
        return {self.output: RowTypeConstraint.from_fields(list(columns.items()))}

    def example(self, element: Any) -> Any:
        """The task's input in an element.

        Raises TypeError for what the task cannot take, and ValueError for a row that has a column
        of the prediction's already: before the model has answered it, and all rows like it.
        """
        row = value = self._value(element)
        if isinstance(self.input, str):
            value = _column(row, self.input)
        elif self.input is not None:
            value = {name: _column(row, column) for name, column in self.input.items()}
        _check_free(row, self._added)
        try:
            self.task.check_input(value)
        except TypeError as error:
            where = "" if self.input is None else f"column {shown(self.input)}: "
            raise TypeError(f"{where}{error}") from None
        if self.task.open_inputs:
            return value
        only = next(iter(self.task.inputs))
        named = isinstance(value, Mapping) and len(self.task.inputs) == 1 and set(value) == {only}
        return value[only] if named else value

    def results(self) -> Callable[[Any, Any, str], Any]:
        """A function from an element, its inference and the model to what the transform gives."""
        if self.input is None:

            def found(element: Any, inference: Any, model_id: str) -> Any:
                return PredictionResult(self._value(element), inference, model_id)
        else:
            cells = {as_mapping: self._cells(as_mapping) for as_mapping in (True, False)}

            def found(element: Any, inference: Any, model_id: str) -> Any:
                row = element[1] if self.keyed else element
                added = cells[isinstance(row, dict)](inference)
                return _with_columns(
                    row, {**added, "model_id": model_id} if self.versioned else added
                )

        if not self.keyed:
            return found
        return lambda element, inference, model_id: (
            element[0],
            found(element, inference, model_id),
        )

    def _value(self, element: Any) -> Any:
        if not self.keyed:
            return element
        if not isinstance(element, tuple) or len(element) != 2:
            raise TypeError(f"keyed=True takes (key, value) pairs, got {shown(element)}")
        return element[1]

    def _cells(self, as_mapping: bool) -> Callable[[Any], dict[str, Any]]:
        """A function from an inference to the cells of its columns."""
        converts = {name: converter(kind, as_mapping) for name, kind in self._prediction.items()}

        def cells(inference: Any) -> dict[str, Any]:
            values = self.task.values(inference, self.parameters)
            if self.output is not None:
                values = {self.output: next(iter(values.values())) if len(values) == 1 else values}
            return {name: convert(values.get(name)) for name, convert in converts.items()}

        return cells

    def check(self, element_type: Any) -> None:
        """Raises ValueError if elements of a type lack the input columns or have the output's."""
        fields = _fields(self._value_type(element_type))
        if self.input is None or fields is None:
            return
        wanted = [self.input] if isinstance(self.input, str) else list(self.input.values())
        for column in wanted:
            if column not in fields:
                raise ValueError(f"input: {unknown('column', column, fields)}")
        for column in self.columns:
            if column in fields:
                raise ValueError(_collision(column))

    def result_type(self, element_type: Any) -> Any:
        """The type of what the transform gives, for schemas and coders downstream."""
        found: Any = PredictionResult
        if self.input is not None:
            fields = _fields(self._value_type(element_type))
            found = typehints.Any
            if fields is not None:
                found = RowTypeConstraint.from_fields([*fields.items(), *self.columns.items()])
        if not self.keyed:
            return found
        key = _pair(element_type)[0]
        return typehints.Tuple[key, found]

    def _value_type(self, element_type: Any) -> Any:
        return _pair(element_type)[1] if self.keyed else element_type

    def schema(self, input_schema: pa.Schema | None = None) -> pa.Schema:
        """The pyarrow schema of the rows: those of the input, then the prediction's.

        Its metadata tells `datasets` which columns are images and sounds, beside those of the
        input.
        """
        fields = list(input_schema) if input_schema is not None else []
        metadata = dict(input_schema.metadata or {}) if input_schema is not None else {}
        files = {name: hub_feature(kind) for name, kind in self.columns.items() if has_files(kind)}
        if files:
            hub = json.loads(metadata.get(_HUB, b"{}"))
            hub.setdefault("info", {}).setdefault("features", {}).update(files)
            metadata[_HUB] = json.dumps(hub).encode()
        columns = [arrow_field(*column) for column in self.columns.items()]
        return pa.schema(fields + columns, metadata or None)


def _column(row: Any, name: str) -> Any:
    if isinstance(row, Mapping):
        if name in row:
            return row[name]
        raise TypeError(unknown("column", name, map(str, row)))
    try:
        return getattr(row, name)
    except AttributeError:
        names = _names(row)
    if names is None:
        raise TypeError(
            f"input={name!r} needs rows (beam.Row, NamedTuple or dict), got "
            f"{type(row).__name__} {row!r:.80}"
        )
    raise TypeError(unknown("column", name, names))


def _names(row: Any) -> list[str] | None:
    if isinstance(row, beam.Row):
        return list(row.as_dict())
    return list(row._fields) if hasattr(row, "_fields") else None


def _with_columns(row: Any, cells: dict[str, Any]) -> Any:
    own = row if isinstance(row, dict) else row.as_dict() if isinstance(row, beam.Row) else None
    if own is None:
        own = row._asdict()
    _check_free(row, tuple(cells))
    return {**own, **cells} if isinstance(row, dict) else beam.Row(**own, **cells)


def _check_free(row: Any, added: tuple[str, ...]) -> None:
    if not added:
        return
    if isinstance(row, Mapping):
        own: Container[Any] = row
    else:
        own = vars(row) if isinstance(row, beam.Row) else getattr(row, "_fields", ())
    for name in added:
        if name in own:
            raise ValueError(_collision(name))


def _collision(column: str) -> str:
    return (
        f"the rows have a column {column!r} already: choose a name for the prediction with "
        "output='…'"
    )


def _fields(element_type: Any) -> dict[str, Any] | None:
    if not isinstance(element_type, RowTypeConstraint):
        element_type = RowTypeConstraint.from_user_type(element_type)
    return None if element_type is None else dict(element_type._fields)


def _pair(element_type: Any) -> tuple[Any, Any]:
    args = getattr(element_type, "tuple_types", None) or typing.get_args(element_type)
    return args if len(args) == 2 else (typehints.Any, typehints.Any)

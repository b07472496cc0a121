"""Elements to examples of a task, and inferences to results.

The result of a plain element is a PredictionResult. Rows (beam.Row, NamedTuple, dataclass, dict)
keep their columns and gain those of the prediction. With `keyed`, elements are (key, value) pairs,
and each result keeps its key.
"""

from __future__ import annotations

import functools
import keyword
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import apache_beam as beam
import pyarrow as pa
from apache_beam.typehints import typehints
from apache_beam.typehints.row_type import RowTypeConstraint

from ..options.nested import columns_of
from ..options.shown import shown, typed
from ..options.suggest import unknown
from ..tasks import Task
from .inputs import Inputs
from .prediction import Prediction
from .prompts import Prompt
from .row_check import KeyCheck, RowCheck, column_type
from .row_inputs import RowInputs, cell
from .row_parameters import RowParameters
from .row_types import fields_of, fits, is_no_row, is_typed_dict, pair_of
from .schema import extended, python_type

if TYPE_CHECKING:
    from apache_beam.ml.inference.base import PredictionResult


@dataclass(frozen=True, kw_only=True)
class Binding:
    """Where a transform finds its inputs in an element, and where the prediction goes.

    Raises TypeError for inputs that the task does not have.
    """

    task: Task
    parameters: Mapping[str, Any]
    keyed: bool = False
    #: A column's name; or, for a task with several inputs, input names to columns.
    input: str | Mapping[str, str] | None = None
    #: What the text input is made of, in place of a column: a template with columns in it.
    prompt: Prompt | None = None
    #: The columns of parameters that rows have for themselves.
    row_parameters: RowParameters | None = None
    #: Put the prediction into one column of this name.
    output: str | None = None
    #: Whether rows gain the id of the model that answered.
    versioned: bool = False
    #: Strings that hold a chat in JSON: True reads the chat, False takes them as prompts, None
    #: refuses them.
    json_chats: bool | None = None
    #: Checks of elements that the type of the results cannot hold: see `holding`.
    key_check: KeyCheck | None = None
    row_check: RowCheck | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.keyed, bool):
            raise TypeError(f"keyed must be True or False, got {shown(self.keyed)}")
        self._check_json_chats()
        if not self.of_rows and self.output is not None:
            raise TypeError("output names a column of rows: it needs input, a column, too")
        if self.of_rows and self.versioned and self.output == "model_id":
            raise TypeError("output='model_id': rows have the model's id in a column of that name")

    @functools.cached_property
    def _row(self) -> RowInputs:
        return RowInputs(self.task, self.input, self.prompt, self.row_parameters)

    @functools.cached_property
    def of_rows(self) -> bool:
        """Whether elements are rows, whose columns the inputs are made of."""
        return bool(self._row)

    def _check_json_chats(self) -> None:
        if not isinstance(self.json_chats, bool | None):
            raise TypeError(f"json_chats must be True, False or None, got {self.json_chats!r:.80}")
        if self.json_chats is not None and self.task.lists != "chat":
            raise TypeError(f"json_chats: {self.task.name} takes no chats")
        if self.json_chats is not None and self.prompt is not None:
            raise TypeError(f"json_chats is for texts in columns: {self._row.source} is none")

    @property
    def input_columns(self) -> dict[str, str]:
        """The column of each input that has one, by the input's name."""
        return self._row.columns

    @property
    def row_options(self) -> dict[str, Any]:
        """The options that say what else of a row decides its answer, as they were given."""
        found = {} if self.prompt is None else {self.prompt.option: self.prompt.template}
        own = self.row_parameters
        return found if own is None else {**found, "parameters": dict(own.columns)}

    @property
    def columns_read(self) -> tuple[str, ...]:
        """The names of the columns that decide the answer to a row."""
        return self._row.columns_read

    @functools.cached_property
    def prediction(self) -> Prediction:
        """The columns that rows gain."""
        return Prediction(
            task=self.task,
            parameters=self.parameters,
            output=self.output,
            versioned=self.versioned,
        )

    @functools.cached_property
    def _added(self) -> tuple[str, ...]:
        """The names of the columns that rows gain: computed once, read for every row."""
        return tuple(self.prediction.columns) if self.of_rows else ()

    @functools.cached_property
    def _inputs(self) -> Inputs:
        return Inputs(
            task=self.task,
            parameters=self.parameters,
            single=self.of_rows,
            json_chats=self.json_chats if self.prompt is None else False,
        )

    def example(self, element: Any) -> Any:
        """The example in an element: what the task's pipeline is called with.

        Raises before the model computes anything: TypeError for an element that the task cannot
        take or the type of the results cannot hold, and ValueError for a row that already has a
        column that the prediction adds.
        """
        value = self._value(element)
        if self.key_check is not None:
            self.key_check(element[0])
        if not self.of_rows:
            return self._of_element(value)
        own = columns_of(value)
        if own is None:
            raise TypeError(
                f"{self._row.source} needs rows (beam.Row, NamedTuple, dataclass or dict), got "
                f"{typed(value)}"
            )
        for name in self._added:
            if name in own:
                raise ValueError(self.prediction.collision(name))
        if self.row_check is not None:
            self.row_check(value, own)
        if not isinstance(self.input, str):
            return self._of_columns(self._inputs.named, self._row.of(own))
        value = cell(own, self.input)
        return value if self.is_text(value) else self._of_columns(self._inputs.of, value)

    @functools.cached_property
    def parameter_columns(self) -> list[str]:
        """The names of the columns of parameters that rows have for themselves."""
        own = self.row_parameters
        return [] if own is None else list(dict.fromkeys(own.columns.values()))

    def parameters_of(self, element: Any) -> dict[str, Any]:
        """The parameters that an element has for itself, in columns.

        Raises TypeError or ValueError for a value that is not valid.
        """
        if self.row_parameters is None:
            return {}
        return self.row_parameters.of(columns_of(self._value(element)) or {})

    def is_text(self, cell: Any) -> bool:
        """Whether a cell of the input's column is the example as it is: the most frequent case."""
        return self._inputs.is_text(cell)

    def _of_columns(self, read: Callable[[Any], Any], cells: Any) -> Any:
        try:
            return read(cells)
        except TypeError as error:
            raise TypeError(f"{self._row.place}: {error}") from None

    def _of_element(self, value: Any) -> Any:
        if self._inputs.is_text(value):
            return value
        try:
            return self._inputs.of(value)
        except TypeError as error:
            own = columns_of(value)
            if own is None or self._inputs.takes(own):
                raise
            types = {name: functools.partial(isinstance, cell) for name, cell in own.items()}
            raise TypeError(f"{error}. {self._input_advice(types)}") from None

    def _input_advice(self, fits: Mapping[str, Callable[[tuple[type, ...]], bool]]) -> str:
        columns = ", ".join(map(str, fits))
        return f"The elements are rows with the columns {columns:.200}: {self._inputs.likely(fits)}"

    def results(self) -> Callable[[Any, Any, str], Any]:
        """A function (element, inference, model id) → the result of the transform."""
        make = self._to_row() if self.of_rows else self._to_prediction()
        if not self.keyed:
            return make
        return lambda element, inference, model_id: (
            element[0],
            make(element, inference, model_id),
        )

    def _to_prediction(self) -> Callable[[Any, Any, str], PredictionResult]:
        from apache_beam.ml.inference.base import PredictionResult

        return lambda element, inference, model_id: PredictionResult(
            self._value(element), inference, model_id
        )

    def _to_row(self) -> Callable[[Any, Any, str], Any]:
        cells = {as_mapping: self.prediction.cells(as_mapping) for as_mapping in (True, False)}

        def make(element: Any, inference: Any, model_id: str) -> Any:
            row = element[1] if self.keyed else element
            added = cells[isinstance(row, Mapping)](inference)
            return self._with_columns(
                row, {**added, "model_id": model_id} if self.versioned else added
            )

        return make

    def _value(self, element: Any) -> Any:
        if not self.keyed:
            return element
        if not isinstance(element, tuple) or len(element) != 2:
            raise TypeError(f"keyed=True takes (key, value) pairs, got {shown(element, 200)}")
        return element[1]

    def _with_columns(self, row: Any, cells: dict[str, Any]) -> Any:
        own = columns_of(row)
        assert own is not None  # or it had no example
        for name in cells:  # of a postprocess of the user's, after any preprocess
            if name in own:
                raise ValueError(self.prediction.collision(name))
        if self.row_check is not None:
            self.row_check(row, own)
        return {**own, **cells} if isinstance(row, Mapping) else beam.Row(**own, **cells)

    def check(self, element_type: Any) -> None:
        """Raises ValueError if elements of a type cannot be answered.

        That is so if the rows lack an input column, already have an output column, or an input
        column has a type that the task does not accept; and if elements are rows but `input` is not
        set, or are not rows though it is.
        """
        fields = fields_of(self._value_type(element_type))
        if not self.of_rows:
            self._check_no_rows(fields)
            return
        if fields is None:
            self._check_rows(element_type)
            return
        self._check_columns(fields)
        self._check_names()

    def _check_columns(self, fields: Mapping[str, Any]) -> None:
        for name, column in self.input_columns.items():
            if column not in fields:
                raise ValueError(f"input: {unknown('column', column, fields)}")
            self._check_type(name, column, fields[column])
        self._row.check_types(fields)
        for column in self._added:
            if column in fields:
                raise ValueError(self.prediction.collision(column))

    def _check_names(self) -> None:
        for column in self._added:
            if not column.isidentifier() or keyword.iskeyword(column):
                raise ValueError(
                    f"output={column!r}: a column of rows with a schema must have the name of a "
                    "Python variable"
                )

    def _check_no_rows(self, fields: Mapping[str, Any] | None) -> None:
        if fields is None or self.task.open_inputs or self._inputs.takes(fields):
            return
        known = {name: functools.partial(fits, kind) for name, kind in fields.items()}
        raise ValueError(self._input_advice(known))

    def _check_rows(self, element_type: Any) -> None:
        kind = self._value_type(element_type)
        if is_no_row(kind):
            more = ""
            if not self.keyed and pair_of(kind) is not None:
                more = "; for (key, row) pairs, set keyed=True"
            raise ValueError(
                f"{self._row.source} needs rows (beam.Row, NamedTuple, dataclass or dict), got "
                f"elements of the type {kind!r:.200}{more}"
            )

    def _check_type(self, name: str, column: str, kind: Any) -> None:
        if self.task.open_inputs:
            return
        accepted = self._inputs.accepted(name)
        if not fits(kind, accepted):
            raise ValueError(
                f"input: the column {column!r} has the type {_type_name(kind)}, and {name} must be "
                f"{' or '.join(each.__name__ for each in accepted)}"
            )

    def result_type(self, element_type: Any) -> Any:
        """The type of the results, for schemas and coders downstream."""
        from apache_beam.ml.inference.base import PredictionResult

        result = self._row_type(element_type) if self.of_rows else PredictionResult
        return typehints.Tuple[self._key_type(element_type), result] if self.keyed else result

    def _row_type(self, element_type: Any) -> Any:
        passed = self._passed_on(element_type)
        if passed is None:
            return typehints.Any
        return RowTypeConstraint.from_fields([*passed.items(), *self.prediction.columns.items()])

    def holding(self, element_type: Any) -> Self:
        """The same binding, which refuses elements that the type of the results cannot hold."""
        passed = self._passed_on(element_type) if self.of_rows else None
        return replace(
            self,
            key_check=KeyCheck.of(self._key_type(element_type)) if self.keyed else None,
            row_check=None if passed is None else RowCheck(passed),
        )

    def _passed_on(self, element_type: Any) -> dict[str, Any] | None:
        """The columns that rows keep, with their types; None if results can have no schema."""
        kind = self._value_type(element_type)
        fields = None if is_typed_dict(kind) else fields_of(kind)
        if fields is None or any(name.startswith("_") for name in fields):
            return None
        return {name: column_type(field) for name, field in fields.items()}

    def _key_type(self, element_type: Any) -> Any:
        return (pair_of(element_type) or (typehints.Any,))[0]

    def _value_type(self, element_type: Any) -> Any:
        if not self.keyed:
            return element_type
        pair = pair_of(element_type)
        if pair is None:
            raise ValueError(
                f"keyed=True takes (key, value) pairs, got elements of the type "
                f"{element_type!r:.200}"
            )
        return pair[1]

    def schema(self, input_schema: pa.Schema | None = None) -> pa.Schema:
        """The pyarrow schema of the rows: the columns of the input, then the prediction's.

        Its metadata tells `datasets` which columns are images and audio, in addition to those of
        the input. Raises ValueError for rows that cannot be answered, as `check` does.
        """
        if input_schema is not None:
            fields = {field.name: python_type(field.type) for field in input_schema}
            if self.of_rows:
                self._check_columns(fields)
            else:
                self._check_no_rows(fields)
        return extended(input_schema, self.prediction.columns)


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else f"{kind!r:.200}"

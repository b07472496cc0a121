"""A task over what is in memory, as a function: the same transforms and the same engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

import transforms
from transforms import ElementError, TaskTransform
from transforms.options.nested import columns_of
from transforms.options.shown import shown
from transforms.rows.tables import TableBinding
from transforms.tasks import find

from .frames import Frame, frame_of
from .in_memory import outputs_of
from .kept_engine import kept

_ROW = "__row__"
_ROWS = 1000  # of a table: an element of Beam
#: Options of a transform that only a pipeline has use for.
_OF_PIPELINES = ("keyed", "error_handling", "model_metadata_pcoll", "watch_model_pattern")
_WHY = ("stage", "kind", "error", "message", "traceback", "attempts")
_ON_ERROR = ("raise", "rows")


def predict(
    task: str, data: Any, model: str | None = None, *, on_error: str = "raise", **options: Any
) -> Any:
    """The predictions of a task for data in memory, in its order.

    ```python
    predict("text-classification", ["I love this", "I do not"], model="distilbert/…")
    predict("text-classification", reviews, model="distilbert/…", input="text")
    ```

    The answers are those of the task's transform in a pipeline: this is one, in this process. A
    progress bar is shown if standard error is a terminal. The model stays loaded for the next call
    with the same; one with another model, or `release_model()`, lets it go.

    Args:
      task: the name of a task.
      data: a list of inputs, or of rows as dicts (with `input`); a pandas DataFrame or Series; a
        pyarrow Table; a Dataset of `datasets`.
      model: as of the transform.
      on_error: "raise" raises an ElementError for the first input that fails; "rows" goes on, and
        gives (results, failures).
      **options: those of the transform, and the task's parameters. `input` may be left out for data
        with columns that are named as the task's inputs.

    Of a list the result is a list of what `transformers.pipeline(task, model)` returns for each
    input; of rows, of dicts with the prediction's columns. Other data are given back with the
    prediction's columns. Inputs that fail are None in a list, and are left out of other data; their
    failures have `row`, the position of the input, and the columns of failure rows: a list of
    dicts, or of the same kind as the data.

    Raises:
      ElementError: an input fails, and on_error is "raise".
      TypeError, ValueError: the data is of another kind, has not the columns that are needed, or
        an option is wrong.
      ModelLoadError: the model cannot be loaded.

    """
    if on_error not in _ON_ERROR:
        raise ValueError(f"on_error must be 'raise' or 'rows', got {shown(on_error)}")
    for name in _OF_PIPELINES:
        if name in options:
            raise TypeError(f"{name} is an option of a transform in a pipeline, not of predict")
    frame = frame_of(data)
    if frame is not None:
        if "input" not in options and not _is_prompted(task, options):
            options["input"] = _input_of(task, frame.names)
        made = transforms.pipeline(task, model, **options)
        with kept(made):
            results, failures = _of_frame(made, frame, on_error == "raise")
    elif isinstance(data, list | tuple):
        made = transforms.pipeline(task, model, keyed=True, **options)
        with kept(made):
            results, failures = _of_list(made, data, on_error == "raise")
    else:
        raise TypeError(
            "data must be a list, a pandas DataFrame or Series, a pyarrow Table or a Dataset of "
            f"datasets, got {shown(data, 80)} of the type {type(data).__name__}"
        )
    return results if on_error == "raise" else (results, failures)


def _is_prompted(task: str, options: Mapping[str, Any]) -> bool:
    """Whether the text of each row is made by a template."""
    return "messages" in options or ("prompt" in options and "prompt" not in find(task).parameters)


def _input_of(task: str, names: Sequence[str]) -> str | dict[str, str]:
    """The columns that are named as the inputs of a task; the only column, for a task of one input.

    Raises ValueError if there are no such columns.
    """
    declared = find(task)
    needed = [name for name in declared.inputs if name not in declared.optional_inputs]
    if len(needed) <= 1 and len(names) == 1:
        return names[0]
    if not needed or not set(needed) <= set(names):
        inputs = " and ".join(needed or declared.inputs)
        raise ValueError(
            f"set input= to the column of {inputs}: the data has the columns {', '.join(names)}"
        )
    return needed[0] if len(needed) == 1 else {name: name for name in needed}


class _Pairs(Sequence[Any]):
    """The items of a list with their positions."""

    def __init__(self, data: Sequence[Any]) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, i: Any) -> Any:
        return i, self._data[i]


def _of_list(task: TaskTransform, data: Sequence[Any], raises: bool) -> tuple[Any, Any]:
    """The predictions for the items of a list, and the failures."""

    def refuse(failure: Any) -> ElementError:
        return _error(failure.element[0], _why(failure))

    good, bad = outputs_of(
        _Pairs(data),
        task,
        tuple[int, Any],
        rows_in=lambda _: 1,
        count=len(data),
        refuse=refuse if raises else None,
    )
    results: list[Any] = [None] * len(data)
    for i, result in good:
        results[i] = _as_dict(result) if task.plan.binding.of_rows else result.inference
    failures = [{"row": failure.element[0], **_why(failure)} for failure in bad]
    return results, sorted(failures, key=lambda each: each["row"])


def _why(failure: Any) -> dict[str, Any]:
    return {name: getattr(failure, name) for name in _WHY}


def _as_dict(row: Any) -> dict[str, Any]:
    return dict(columns_of(row) or {})


def _of_frame(task: TaskTransform, frame: Frame, raises: bool) -> tuple[Any, Any]:
    """Data with the columns of the predictions, and the failures."""
    for name in task.schema().names:
        if name in frame.names:
            raise ValueError(task.plan.binding.prediction.collision(name))
    inputs = frame.table(TableBinding(task.plan.binding).columns_read)
    task.schema(inputs.schema)  # raises for a column of a type that the task cannot read
    good, bad = outputs_of(
        list(_numbered(inputs)),
        task.with_reuse(),
        pa.Table,
        rows_in=len,
        count=len(inputs),
        refuse=_first_failure if raises else None,
    )
    good.sort(key=lambda table: table[_ROW][0].as_py() if len(table) else -1)
    answered = pa.concat_tables(good)
    predicted = answered.select(task.schema().names).cast(task.schema())
    results = frame.extended(answered[_ROW].to_pylist(), predicted, task.schema)
    return results, frame.same_kind(_failures(bad))


def _numbered(table: pa.Table) -> Iterator[pa.Table]:
    """A table in parts, with the positions of the rows."""
    table = table.append_column(_ROW, pa.array(range(len(table)), pa.int64()))
    for start in range(0, max(len(table), 1), _ROWS):
        yield table.slice(start, _ROWS)


def _failures(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of failure rows as one, in their order, with positions in place of elements."""
    kinds = [pa.int64() if name == "attempts" else pa.string() for name in _WHY]
    schema = pa.schema([("row", pa.int64()), *zip(_WHY, kinds, strict=True)])
    parts = [
        pa.Table.from_arrays([_positions(table), *table.select(_WHY).columns], schema=schema)
        for table in tables
    ]
    return pa.concat_tables([schema.empty_table(), *parts]).sort_by("row")


def _positions(failures: pa.Table) -> pa.Array:
    return failures["element"].combine_chunks().field(_ROW)


def _first_failure(failures: pa.Table) -> ElementError:
    (row,) = failures.slice(0, 1).select(_WHY).to_pylist()
    return _error(_positions(failures)[0].as_py(), row)


def _error(position: int, failure: Mapping[str, Any]) -> ElementError:
    return ElementError(
        f"row {position} of the data failed in {failure['stage']}: {failure['error']}: "
        f'{failure["message"]}. on_error="rows" goes on without such rows'
    )

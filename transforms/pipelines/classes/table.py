"""Questions about tables, with errors that say which cell is to blame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers.pipelines.table_question_answering import (
    TableQuestionAnsweringPipeline as _TableQuestionAnsweringPipeline,
)

from ...options.shown import shown


class TableQuestionAnsweringPipeline(_TableQuestionAnsweringPipeline):  # type: ignore[misc]
    """transformers' pipeline. What it cannot read, it names: it is made for texts in all cells."""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """The answer to a {"table": …, "query": …}."""
        try:
            return super().__call__(*args, **keywords)
        except ValueError as error:
            reason = _shape_of(args[0]) if args else None
            if reason is None:
                raise
            raise ValueError(f"table: {reason}") from error

    def preprocess(self, pipeline_input: Any, *args: Any, **keywords: Any) -> Any:
        """The tokens of a {"table": DataFrame, "query": …}."""
        try:
            return super().preprocess(pipeline_input, *args, **keywords)
        except (AttributeError, TypeError) as error:
            reason = _first_no_text(pipeline_input["table"])
            if reason is None:
                raise
            raise TypeError(f"table: {reason}") from error


def _shape_of(inputs: Any) -> str | None:
    """Why no table can be made of an input's columns."""
    table = inputs.get("table") if isinstance(inputs, Mapping) else None
    if not isinstance(table, Mapping):
        return None
    for name, column in table.items():
        if isinstance(column, str) or not hasattr(column, "__len__"):
            return f"the column {shown(name)} must be a list of cells, got {shown(column)}"
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) < 2:
        return None
    return f"its columns must be equally long, got {shown(lengths)} cells"


def _first_no_text(table: Any) -> str | None:
    """The first cell of a DataFrame, headers first, that is no text."""
    for i, name in enumerate(table.columns):
        if not isinstance(name, str):
            return (
                f"the header of column {i} is {shown(name)} ({type(name).__name__}): headers must "
                "be strings, as in {'City': ['Paris'], 'People': ['2100000']}"
            )
    for row, cells in enumerate(table.itertuples(index=False, name=None)):
        for name, cell in zip(table.columns, cells, strict=True):
            if not isinstance(cell, str):
                return (
                    f"the cell in column {shown(name)}, row {row} is {shown(cell)} "
                    f"({type(cell).__name__}): cells must be strings, a number '42', no value ''"
                )
    return None

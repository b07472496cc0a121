"""Data with columns, in memory: a pandas DataFrame, an Arrow table, a dataset of `datasets`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import pandas as pd
import pyarrow as pa

from transforms.rows.tables import chosen

Schema: TypeAlias = Callable[[pa.Schema], pa.Schema]


class Frame(Protocol):
    """Data with columns."""

    @property
    def names(self) -> list[str]:
        """The names of the columns."""

    def table(self, names: Sequence[str]) -> pa.Table:
        """Some columns as a table. Raises TypeError for values that Arrow does not know."""

    def extended(self, rows: Sequence[int], predicted: pa.Table, schema: Schema) -> Any:
        """Some rows with more columns, as the same kind of data.

        Args:
          rows: the positions of the rows, ascending.
          predicted: the columns.
          schema: what makes the schema of all columns of that of the data.

        """

    def same_kind(self, table: pa.Table) -> Any:
        """A table as the same kind of data."""


def frame_of(data: Any) -> Frame | None:
    """The columns of data; None for data that has none."""
    if isinstance(data, pd.Series):
        return PandasFrame(data.to_frame("input" if data.name is None else str(data.name)))
    if isinstance(data, pd.DataFrame):
        return PandasFrame(data)
    if isinstance(data, pa.Table):
        return ArrowFrame(data)
    datasets = sys.modules.get("datasets")
    if datasets is not None and isinstance(data, datasets.Dataset):
        return DatasetFrame(data)
    return None


class PandasFrame:
    """A DataFrame. Its index and the types of its columns stay."""

    def __init__(self, data: pd.DataFrame) -> None:
        self._data = data

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [str(name) for name in self._data.columns]

    def table(self, names: Sequence[str]) -> pa.Table:
        """Some columns as a table."""
        try:
            places = [self.names.index(name) for name in names]
            frame = self._data.iloc[:, places].set_axis(list(names), axis=1)
            table = pa.Table.from_pandas(frame, preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise TypeError(
                f"Arrow has no type for the values of the columns {', '.join(names)}: give a list "
                f"of them, as in list(data[{names[0]!r}]). {error}"
            ) from error
        return table.replace_schema_metadata()

    def extended(self, rows: Sequence[int], predicted: pa.Table, schema: Schema) -> pd.DataFrame:
        """Some rows with more columns."""
        data = self._data.iloc[list(rows)]
        more = self.same_kind(predicted).set_axis(data.index)
        return data.assign(**{name: more[name] for name in predicted.column_names})

    def same_kind(self, table: pa.Table) -> pd.DataFrame:
        """A table as a DataFrame: lists and structs are Python's lists and dicts."""
        columns = {}
        for name in table.column_names:
            column = table[name]
            is_plain = not column.type.num_fields
            columns[name] = column.to_pandas() if is_plain else pd.Series(column.to_pylist())
        return pd.DataFrame(columns)


class ArrowFrame:
    """A table of pyarrow."""

    def __init__(self, data: pa.Table) -> None:
        self._data = data

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self._data.column_names)

    def table(self, names: Sequence[str]) -> pa.Table:
        """Some columns as a table."""
        return self._data.select(list(names))

    def extended(self, rows: Sequence[int], predicted: pa.Table, schema: Schema) -> pa.Table:
        """Some rows with more columns."""
        columns = [*chosen(self._data, rows).columns, *predicted.columns]
        return pa.Table.from_arrays(columns, schema=schema(self._data.schema))

    def same_kind(self, table: pa.Table) -> pa.Table:
        """The table."""
        return table


class DatasetFrame:
    """A Dataset of `datasets`: images and audio of a prediction are such features."""

    def __init__(self, data: Any) -> None:
        self._data = data

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return list(self._data.column_names)

    def table(self, names: Sequence[str]) -> pa.Table:
        """Some columns as a table."""
        table: pa.Table = self._data.select_columns(list(names)).with_format("arrow")[:]
        return table.replace_schema_metadata()

    def extended(self, rows: Sequence[int], predicted: pa.Table, schema: Schema) -> Any:
        """Some rows with more columns."""
        from datasets import concatenate_datasets

        data = self._data if len(rows) == len(self._data) else self._data.select(list(rows))
        return concatenate_datasets([data, self.same_kind(predicted)], axis=1)

    def same_kind(self, table: pa.Table) -> Any:
        """A table as a Dataset."""
        from datasets import Dataset
        from datasets.table import InMemoryTable

        return Dataset(InMemoryTable(table))

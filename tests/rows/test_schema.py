"""The types of the columns of all tasks."""

from __future__ import annotations

import pyarrow as pa
import pytest
from apache_beam.typehints import arrow_type_compatibility
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.typehints.schemas import schema_from_element_type

from transforms.rows.schema import arrow_field
from transforms.tasks import TASKS


@pytest.mark.parametrize("task", sorted(TASKS))
def test_every_task_has_columns_that_beam_and_arrow_agree_on(task: str) -> None:
    for parameters in ({}, {"top_k": 3}, {"pooling": "mean"}, {"return_tensors": True}):
        columns = TASKS[task].columns(parameters)
        row = RowTypeConstraint.from_fields(list(columns.items()))
        beams = arrow_type_compatibility.arrow_schema_from_beam_schema(
            schema_from_element_type(row)
        )
        ours = [arrow_field(name, kind) for name, kind in columns.items()]
        assert [field.name for field in beams] == [field.name for field in ours]
        assert [_plain(field.type) for field in beams] == [_plain(field.type) for field in ours]


def _plain(kind: pa.DataType) -> str:
    """A type without the names and nullability of list items."""
    if pa.types.is_list(kind):
        return f"[{_plain(kind.value_type)}]"
    if pa.types.is_struct(kind):
        return str([(field.name, _plain(field.type)) for field in kind])
    return str(kind)

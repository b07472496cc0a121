"""Rows with equal inputs: which they are, and answers for all of them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from transforms.rows.distinct import distinct_rows

#: Values of one type, of which some are equal to others; and the numbers of the first of each.
VALUES: list[tuple[Any, list[Any], list[int]]] = [
    (pa.string(), ["a", "b", "a", None, "", None], [0, 1, 3, 4]),
    (pa.large_string(), ["a", "A", "a"], [0, 1]),
    (pa.binary(), [b"a", b"a\0", b"a"], [0, 1]),
    (pa.bool_(), [True, None, False, True], [0, 1, 2]),
    (pa.int64(), [1, 2, 1, -1], [0, 1, 3]),
    (pa.float64(), [0.0, -0.0, 0.0, None], [0, 1, 3]),
    (pa.dictionary(pa.int8(), pa.string()), ["b", "a", "b"], [0, 1]),
    (pa.list_(pa.float32()), [[1.0, 2.0], [1.0], [1.0, 2.0], [], None], [0, 1, 3, 4]),
    (
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        [{"bytes": b"x", "path": None}, {"bytes": b"x", "path": "p"}, {"bytes": b"x"}, None],
        [0, 1, 3],
    ),
]


@pytest.mark.parametrize(("kind", "values", "first"), VALUES)
@pytest.mark.parametrize("cut", [0, 1, 2])
def test_equal_values(kind: Any, values: list[Any], first: list[int], cut: int) -> None:
    """Wherever a column is cut into chunks."""
    chunks = [pa.array(values[:cut], kind), pa.array(values[cut:], kind)]
    table = pa.table({"id": range(len(values)), "value": pa.chunked_array(chunks, kind)})
    found = distinct_rows(table, ["value"])
    assert found is not None
    assert found.rows["id"].to_pylist() == first
    again = [found.rows["value"].to_pylist()[place] for place in found.places]
    assert [repr(each) for each in again] == [repr(each) for each in table["value"].to_pylist()]


def test_rows_that_differ_in_one_column_differ() -> None:
    table = pa.table({"a": [1, 1, 2, 1], "b": ["x", "y", "x", "x"], "id": range(4)})
    found = distinct_rows(table, ["a", "b"])
    assert found is not None
    assert found.rows["id"].to_pylist() == [0, 1, 2]
    assert found.places.tolist() == [0, 1, 2, 0]
    assert distinct_rows(table.slice(0, 3), ["a", "b"]) is None
    assert distinct_rows(table.slice(0, 0), ["a"]) is None


def test_values_that_hold_dictionaries_are_not_compared() -> None:
    kind = pa.list_(pa.dictionary(pa.int8(), pa.string()))
    table = pa.table({"value": pa.array([["a"], ["a"]], kind)})
    assert distinct_rows(table, ["value"]) is None


def test_answers_of_distinct_rows_become_those_of_all() -> None:
    found = distinct_rows(pa.table({"a": ["x", "y", "x", "z", "y"]}), ["a"])
    assert found is not None
    assert found.rows_of([1, 2]) == [1, 3, 4]
    (column,) = found.repeated([pa.chunked_array([["Y"], ["Z"]])], [1, 2])
    assert column.to_pylist() == ["Y", "Z", "Y"]

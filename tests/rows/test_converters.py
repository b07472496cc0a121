"""Values of predictions are made to fit the types of their columns, or refused."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pytest

from transforms.rows.converters import converter


class Inner(NamedTuple):
    a: int


CONVERTED: list[tuple[Any, Any, Any]] = [
    (str, "a", "a"),
    (str, np.str_("a"), "a"),
    (str, 3, "3"),
    (int, np.int64(3), 3),
    (int, 3.0, 3),
    (float, np.float32(0.5), 0.5),
    (float, 3, 3.0),
    (np.float32, np.float64(0.5), 0.5),
    (bool, np.bool_(True), True),
    (bool, 1, True),
    (bytes, bytearray(b"x"), b"x"),
    (Sequence[float], (1, 0.5), [1.0, 0.5]),
    (Sequence[np.float32], np.ones(2), [1.0, 1.0]),
    (float | None, None, None),
    (Inner, beam.Row(a=np.int32(1)), Inner(1)),
]


@pytest.mark.parametrize(("kind", "value", "expected"), CONVERTED, ids=str)
def test_predictions_are_made_to_fit_their_column(kind: Any, value: Any, expected: Any) -> None:
    found = converter(kind, as_mapping=False)(value)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((kind, None) for kind in (str, int, float, np.float32, bool, bytes, Inner)),
        *((Sequence[kind], None) for kind in (str, float, np.float32)),  # type: ignore[valid-type]
        *((str, {"a": 1}), (str, b"x"), (str, "\ud800"), (str, ["a"])),
        *((int, 2.5), (int, 2**63), (int, "a"), (int, float("nan"))),
        *((float, "a"), (float, 10**400), (float, [1.0])),
        *((bool, "no"), (bool, 2), (bytes, "x"), (bytes, 5)),
        *((Sequence[str], "abc"), (Sequence[str], {"a": 1}), (Sequence[int], [1, None])),
        *((Sequence[np.float32], 1.0), (Sequence[np.float32], "1"), (Inner, {}), (Inner, 5)),
    ],
    ids=str,
)
def test_predictions_that_do_not_fit_their_column_are_refused(kind: Any, value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        converter(kind, as_mapping=False)(value)

"""Types of columns between Beam and Arrow, and values that fit them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import pyarrow as pa
import pytest

from pipelines_beam.columns import arrow_type, fitting, kept

# Its annotations are not postponed.
Part = NamedTuple("Part", [("label", str), ("day", Optional[datetime.date])])  # noqa: UP014,UP045


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Part, pa.struct([("label", pa.string()), ("day", pa.date32())])),
        (Mapping[str, Sequence[np.int16]], pa.map_(pa.string(), pa.list_(pa.int16()))),
        (kept(pa.decimal128(5, 2)), pa.decimal128(5, 2)),
    ],
    ids=str,
)
def test_types_of_beam_have_arrow_types(kind: Any, expected: pa.DataType) -> None:
    assert arrow_type(kind) == expected


@pytest.mark.parametrize("kind", [Any, complex, int | str])
def test_types_of_several_kinds_of_values_have_none(kind: Any) -> None:
    with pytest.raises(TypeError, match="no Arrow type has all values"):
        arrow_type(kind)


def test_a_type_that_is_kept_is_one_class() -> None:
    assert kept(pa.decimal128(5, 2)) is kept(pa.decimal128(5, 2))
    assert issubclass(kept(pa.time32("s")), datetime.time)


def test_values_are_not_changed() -> None:
    assert fitting(pa.int8())(2.0) == 2
    for value, error in ((2.5, ValueError), (128, OverflowError), (None, TypeError)):
        with pytest.raises(error):
            fitting(pa.int8())(value)

"""Types of columns: Python's, pyarrow's, and features of `datasets`."""

from __future__ import annotations

import json
import typing
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from transforms.rows.schema import arrow_type, extended, has_files, hub_feature, python_type
from transforms.tasks.columns import Audio, Image

# Its annotations are not postponed.
Part = NamedTuple("Part", [("label", str), ("images", Sequence[Image])])  # noqa: UP014


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (int | None, pa.int64()),
        (Sequence[np.float32], pa.list_(pa.float32())),
        (Image, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    ],
)
def test_python_types_have_arrow_types(kind: Any, expected: pa.DataType) -> None:
    assert arrow_type(kind) == expected


def test_a_type_that_no_column_can_have() -> None:
    with pytest.raises(TypeError, match="a column cannot have the type"):
        arrow_type(complex)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.large_string(), str),
        (pa.dictionary(pa.int8(), pa.string()), str),
        (pa.list_(pa.float32()), list),
        (pa.struct([("a", pa.int8())]), dict),
        (pa.null(), typing.Any),
    ],
)
def test_arrow_types_have_python_types(kind: pa.DataType, expected: Any) -> None:
    assert python_type(kind) is expected


def test_features_of_datasets() -> None:
    assert hub_feature(Audio) == {"_type": "Audio"}
    assert hub_feature(Part) == {
        "label": {"dtype": "string", "_type": "Value"},
        "images": [{"_type": "Image"}],
    }
    assert [has_files(kind) for kind in (Part, Sequence[Image], Sequence[str])] == [
        True,
        True,
        False,
    ]


def test_a_schema_that_is_extended_keeps_its_features() -> None:
    features = {"photo": {"_type": "Image"}}
    known = {b"huggingface": json.dumps({"info": {"features": features}}).encode(), b"x": b"y"}
    schema = extended(pa.schema([("photo", pa.binary())], known), {"mask": Image, "score": float})
    assert schema.names == ["photo", "mask", "score"]
    assert schema.metadata[b"x"] == b"y"
    hub = json.loads(schema.metadata[b"huggingface"])
    assert hub["info"]["features"] == {**features, "mask": {"_type": "Image"}}
    assert extended(None, {"score": float}).metadata is None

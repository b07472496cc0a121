"""Rows in files of Beam YAML's sinks: structs keep the names of their fields, bytes are base64."""

import base64
import csv
import dataclasses
import datetime
import json
from pathlib import Path
from typing import Any, NamedTuple, Optional

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.typehints import typehints
from apache_beam.typehints.row_type import RowTypeConstraint
from conftest import RUNNER

from pipelines_beam import sinks
from transforms.failures import failure, failure_type


class Part(NamedTuple):
    label: str
    score: float


class Element(NamedTuple):
    id: int
    text: Optional[str]  # noqa: UP045 - Beam schemas know Optional alone
    parts: list[Part]


@dataclasses.dataclass
class Point:
    x: int


ROW = beam.Row(id=7, part=beam.Row(label="a", score=0.5))
ROW_TYPE = RowTypeConstraint.from_fields(
    [("id", int), ("part", RowTypeConstraint.from_fields([("label", str), ("score", float)]))]
)
NAMED = Element(7, None, [Part("a", 0.5), Part("b", 0.25)])
NAMED_JSON = {
    "id": 7,
    "text": None,
    "parts": [{"label": "a", "score": 0.5}, {"label": "b", "score": 0.25}],
}
RAW = b"\xff\xd8\x00"
RAW_JSON = base64.b64encode(RAW).decode()

#: An element, its type, and what it is in JSON.
CASES: dict[str, tuple[Any, Any, Any]] = {
    "row": (ROW, ROW_TYPE, {"id": 7, "part": {"label": "a", "score": 0.5}}),
    "named tuple": (NAMED, Element, NAMED_JSON),
    "dict": (
        {"id": 7, "image": {"bytes": RAW, "path": None}},
        typehints.Any,
        {"id": 7, "image": {"bytes": RAW_JSON, "path": None}},
    ),
    "pair": (("key", NAMED), typehints.Tuple[str, Element], ["key", NAMED_JSON]),
    "text": ("hello", str, "hello"),
    "bytes": (RAW, bytes, RAW_JSON),
}


def written(sink: str, element: Any, kind: Any, tmp_path: Path) -> Path:
    """The file with the failure row of an element of a type."""
    with beam.Pipeline(RUNNER) as p:
        _ = (
            p
            | beam.Create([0])
            | beam.Map(
                lambda _: failure("preprocess", element, ValueError("no"))
            ).with_output_types(failure_type(kind))
            | sinks.TRANSFORMS[sink](path=str(tmp_path / "failed"))
        )
    (path,) = tmp_path.glob("failed*")
    return path


@pytest.mark.parametrize("name", CASES)
def test_json(name: str, tmp_path: Path) -> None:
    element, kind, expected = CASES[name]
    row = json.loads(written("WriteToJson", element, kind, tmp_path).read_text())
    assert row["element"] == expected
    assert (row["error"], row["message"], row["attempts"]) == ("ValueError", "no", 1)


@pytest.mark.parametrize("name", CASES)
def test_csv(name: str, tmp_path: Path) -> None:
    element, kind, expected = CASES[name]
    with written("WriteToCsv", element, kind, tmp_path).open() as file:
        (row,) = csv.DictReader(file)
    cell = row["element"]
    assert (cell if isinstance(expected, str) else json.loads(cell)) == expected


@pytest.mark.parametrize("name", CASES)
def test_parquet(name: str, tmp_path: Path) -> None:
    """Structs that Arrow has a type for are structs; else there are JSON texts."""
    element, kind, expected = CASES[name]
    (cell,) = pq.read_table(written("WriteToParquet", element, kind, tmp_path))["element"]
    found = cell.as_py()
    if name in ("dict", "pair"):
        found = json.loads(found)
    assert found == (RAW if name == "bytes" else expected)


def test_other_values() -> None:
    assert sinks.plain(np.float32(0.5)) == 0.5
    assert sinks.plain({1: np.arange(2), "t": (1, {2})}) == {"1": [0, 1], "t": [1, [2]]}
    assert sinks.plain(Point(3)) == {"x": 3}
    assert sinks.plain(datetime.date(2024, 5, 1)) == "2024-05-01"
    assert len(sinks.plain(Exception("x" * 1000))) == 200
    assert sinks.as_json(None) is None


def test_results_keep_names_too(tmp_path: Path) -> None:
    kind = RowTypeConstraint.from_fields([("id", int), ("found", typehints.List[Part])])
    with beam.Pipeline(RUNNER) as p:
        rows = beam.Map(lambda _: beam.Row(id=1, found=[Part("a", 0.5)])).with_output_types(kind)
        _ = p | beam.Create([0]) | rows | sinks.TRANSFORMS["WriteToJson"](path=f"{tmp_path}/x")
    (path,) = tmp_path.glob("x*")
    assert json.loads(path.read_text()) == {"id": 1, "found": [{"label": "a", "score": 0.5}]}

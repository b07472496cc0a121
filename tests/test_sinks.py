"""Rows in files of Beam YAML's sinks: structs keep the names of their fields, bytes are base64."""

import base64
import csv
import dataclasses
import datetime
import enum
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

import apache_beam as beam
import numpy as np
import pyarrow.parquet as pq
import pytest
from apache_beam.typehints import typehints
from apache_beam.typehints.row_type import RowTypeConstraint
from support.runs import RUNNER

from pipelines_beam import sinks
from transforms.stages.failure_rows import failure, failure_type


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

#: An element, and what it is in JSON.
CASES: dict[str, tuple[Any, Any]] = {
    "row": (ROW, {"id": 7, "part": {"label": "a", "score": 0.5}}),
    "named tuple": (NAMED, NAMED_JSON),
    "dict": (
        {"id": 7, "image": {"bytes": RAW, "path": None}},
        {"id": 7, "image": {"bytes": RAW_JSON, "path": None}},
    ),
    "pair": (("key", NAMED), ["key", NAMED_JSON]),
    "text": ("hello", "hello"),
    "bytes": (RAW, RAW_JSON),
}


def written(sink: str, element: Any, tmp_path: Path) -> Path:
    """The file with the failure row of an element."""
    with beam.Pipeline(RUNNER) as p:
        _ = (
            p
            | beam.Create([0])
            | beam.Map(
                lambda _: failure("preprocess", element, ValueError("no"))
            ).with_output_types(failure_type())
            | sinks.TRANSFORMS[sink](path=str(tmp_path / "failed"))
        )
    (path,) = tmp_path.glob("failed*")
    return path


@pytest.mark.parametrize("name", CASES)
def test_json(name: str, tmp_path: Path) -> None:
    element, expected = CASES[name]
    row = json.loads(written("WriteToJson", element, tmp_path).read_text())
    assert row["element"] == expected
    assert (row["error"], row["message"], row["attempts"]) == ("ValueError", "no", 1)


@pytest.mark.parametrize("name", CASES)
def test_csv(name: str, tmp_path: Path) -> None:
    element, expected = CASES[name]
    with written("WriteToCsv", element, tmp_path).open() as file:
        (row,) = csv.DictReader(file)
    cell = row["element"]
    assert (cell if isinstance(expected, str) else json.loads(cell)) == expected


@pytest.mark.parametrize("name", CASES)
def test_parquet(name: str, tmp_path: Path) -> None:
    """A column of elements, which may be anything, holds texts or JSON."""
    element, expected = CASES[name]
    (cell,) = pq.read_table(written("WriteToParquet", element, tmp_path))["element"]
    found = cell.as_py()
    assert (found if isinstance(expected, str) else json.loads(found)) == expected


def test_other_values() -> None:
    assert sinks.jsonable(np.float32(0.5)) == 0.5
    assert sinks.jsonable({1: np.arange(2), "t": (1, {2})}) == {"1": [0, 1], "t": [1, [2]]}
    assert sinks.jsonable(Point(3)) == {"x": 3}
    assert sinks.jsonable(datetime.date(2024, 5, 1)) == "2024-05-01"
    assert len(sinks.jsonable(Exception("x" * 1000))) == 200
    assert sinks.as_json(None) is None


def test_results_keep_names_too(tmp_path: Path) -> None:
    kind = RowTypeConstraint.from_fields([("id", int), ("found", typehints.List[Part])])
    with beam.Pipeline(RUNNER) as p:
        rows = beam.Map(lambda _: beam.Row(id=1, found=[Part("a", 0.5)])).with_output_types(kind)
        _ = p | beam.Create([0]) | rows | sinks.TRANSFORMS["WriteToJson"](path=f"{tmp_path}/x")
    (path,) = tmp_path.glob("x*")
    assert json.loads(path.read_text()) == {"id": 1, "found": [{"label": "a", "score": 0.5}]}


class Color(str, enum.Enum):  # noqa: UP042 - as of a library that is older than StrEnum
    RED = "red"


class Text(str):
    __slots__ = ()


def test_texts_and_numbers_of_other_classes_are_whole() -> None:
    long = "x" * 1000
    assert sinks.jsonable([Text(long), np.str_(long)]) == [long, long]
    assert sinks.as_json({"color": Color.RED}) == '{"color": "red"}'


def written_rows(
    sink: str, fields: list[tuple[str, Any]], rows: list[beam.Row], path: Path, **config: Any
) -> Path:
    """The file with some rows of a type."""
    kind = RowTypeConstraint.from_fields(fields)
    with beam.Pipeline(RUNNER) as p:
        typed = beam.FlatMap(lambda _: rows).with_output_types(kind)
        _ = p | beam.Create([0]) | typed | sinks.TRANSFORMS[sink](path=str(path / "x"), **config)
    (found,) = path.glob("x*")
    return found


def test_types_of_numpy_are_scalars_in_csv(tmp_path: Path) -> None:
    """They are what ReadFromParquet gives."""
    kinds: list[tuple[str, Any]] = [
        ("ratio", np.float32),
        ("maybe", Optional[np.float64]),  # noqa: UP045
        ("id", np.int64),
        ("count", Optional[np.int32]),  # noqa: UP045
        ("good", np.bool_),
    ]
    rows = [
        beam.Row(ratio=0.1, maybe=0.123456, id=2**60 + 1, count=3, good=True),
        beam.Row(ratio=float("nan"), maybe=None, id=1, count=None, good=False),
    ]
    text = written_rows("WriteToCsv", kinds, rows, tmp_path, float_format="%.2f").read_text()
    assert text.splitlines() == [
        "ratio,maybe,id,count,good",
        f"0.10,0.12,{2**60 + 1},3,True",
        ",,1,,False",
    ]
    (tmp_path / "plain").mkdir()
    text = written_rows(
        "WriteToCsv", kinds[:1], [beam.Row(ratio=0.1)], tmp_path / "plain"
    ).read_text()
    assert text.splitlines() == ["ratio", "0.1"]


def test_only_what_may_hold_rows_is_searched_for_them(tmp_path: Path) -> None:
    """A vector is hundreds of numbers."""
    fields: list[tuple[str, Any]] = [
        ("vector", Sequence[np.float32]),
        ("vectors", Optional[typehints.List[typehints.List[float]]]),  # noqa: UP045
        ("id", np.int64),
        ("parts", typehints.List[Part]),
        ("by_name", typehints.Dict[str, Part]),
        ("row", ROW_TYPE),
    ]
    columns = {name: sinks._parquet_column(name, kind) for name, kind in fields}
    assert [name for name, (_, convert) in columns.items() if convert is not None] == [
        "parts",
        "by_name",
        "row",
    ]
    row = beam.Row(vector=[0.5] * 3, vectors=[[1.0]], good=True)
    kinds = [*fields[:2], ("good", np.bool_)]
    (found,) = pq.read_table(written_rows("WriteToParquet", kinds, [row], tmp_path)).to_pylist()
    assert found == {"vector": [0.5] * 3, "vectors": [[1.0]], "good": "true"}


def test_lines_that_beams_loader_notes_are_no_options() -> None:
    given: list[Any] = []

    def write(path: str, compression: Any) -> beam.PTransform:
        given.append((path, compression))
        return beam.Map(print)

    noted = {"method": "gzip", "__line__": 3, "__uuid__": "x"}
    sinks._write(write, sinks._csv_column)(path="x", compression=noted)
    assert given == [("x", {"method": "gzip"})]

"""Rows in files of Beam YAML's sinks: structs keep the names of their fields, bytes are base64."""

import base64
import csv
import datetime
import decimal
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.typehints import typehints
from apache_beam.typehints.row_type import RowTypeConstraint
from apache_beam.utils.timestamp import Timestamp
from support.runs import RUNNER

from pipelines_beam import sinks
from pipelines_beam.columns import fitting
from pipelines_beam.readable import as_json
from transforms.stages.failure_rows import failure, failure_type


class Part(NamedTuple):
    label: str
    score: float


class Element(NamedTuple):
    id: int
    text: Optional[str]  # noqa: UP045 - Beam schemas know Optional alone
    parts: list[Part]


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


@pytest.mark.parametrize(
    ("sink", "config", "name"),
    [
        ("WriteToParquet", {"path": "x.parquet"}, "x-00000-of-00001.parquet"),
        ("WriteToParquet", {"path": "x"}, "x-00000-of-00001"),
        ("WriteToParquet", {"path": "x.csv", "file_name_suffix": ".p"}, "x.csv-00000-of-00001.p"),
        ("WriteToJson", {"path": "x.jsonl", "num_shards": 1}, "x-00000-of-00001.jsonl"),
        ("WriteToJson", {"path": "x.json", "orient": "split"}, "x-00000-of-00001.json"),
        ("WriteToJson", {"path": "x.y"}, "x.y-00000-of-00001"),
        ("WriteToCsv", {"path": "x.csv"}, "x-00000-of-00001.csv"),
    ],
)
def test_the_ending_of_a_path_is_that_of_its_files(
    sink: str, config: dict[str, Any], name: str, tmp_path: Path
) -> None:
    config = {**config, "path": str(tmp_path / config["path"])}
    with beam.Pipeline(RUNNER) as p:
        p | beam.Create([beam.Row(id=1)]) | sinks.TRANSFORMS[sink](**config)
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == [name]


def test_a_sink_leaves_the_files_of_others(tmp_path: Path) -> None:
    """Beam's own removes what begins and ends like its own files."""
    for name in ("labels-failed", "labels"):
        with beam.Pipeline(RUNNER) as p:
            rows = p | beam.Create([beam.Row(id=1)])
            rows | sinks.TRANSFORMS["WriteToParquet"](path=str(tmp_path / f"{name}.parquet"))
    found = sorted(path.name for path in tmp_path.glob("*.parquet"))
    assert found == ["labels-00000-of-00001.parquet", "labels-failed-00000-of-00001.parquet"]


@pytest.mark.parametrize("sink", sinks.TRANSFORMS)
def test_a_path_is_text(sink: str) -> None:
    with pytest.raises(TypeError, match="path must be text, got 5"):
        sinks.TRANSFORMS[sink](path=5)


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


def test_results_keep_names_too(tmp_path: Path) -> None:
    kind = RowTypeConstraint.from_fields([("id", int), ("found", typehints.List[Part])])
    with beam.Pipeline(RUNNER) as p:
        rows = beam.Map(lambda _: beam.Row(id=1, found=[Part("a", 0.5)])).with_output_types(kind)
        _ = p | beam.Create([0]) | rows | sinks.TRANSFORMS["WriteToJson"](path=f"{tmp_path}/x")
    (path,) = tmp_path.glob("x*")
    assert json.loads(path.read_text()) == {"id": 1, "found": [{"label": "a", "score": 0.5}]}


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


def test_vectors_and_truth_values_are_taken_as_they_are(tmp_path: Path) -> None:
    vector = [0.5] * 3
    assert fitting(pa.list_(pa.float32()))(vector) is vector
    matrix = fitting(pa.list_(pa.list_(pa.float32())))(np.ones((2, 2)))
    assert pa.array([matrix]).to_pylist() == [[[1.0, 1.0]] * 2]
    kinds: list[tuple[str, Any]] = [
        ("vector", Sequence[np.float32]),
        ("vectors", Optional[typehints.List[typehints.List[float]]]),  # noqa: UP045
        ("parts", typehints.List[Part]),
        ("by_name", typehints.Dict[str, Part]),
        ("row", ROW_TYPE),
        ("good", np.bool_),
    ]
    parts = [Part("a", 0.5)]
    row = beam.Row(
        vector=vector,
        vectors=[[1.0]],
        parts=parts,
        by_name={"x": parts[0]},
        row=ROW,
        good=True,
    )
    (found,) = pq.read_table(written_rows("WriteToParquet", kinds, [row], tmp_path)).to_pylist()
    part = {"label": "a", "score": 0.5}
    assert found == {
        "vector": vector,
        "vectors": [[1.0]],
        "parts": [part],
        "by_name": [("x", part)],
        "row": {"id": 7, "part": part},
        "good": True,
    }


NOW = datetime.datetime(2020, 1, 2, 3, 4, 5, 6, datetime.UTC)
#: A value, and what it is in JSON.
READABLE: list[tuple[Any, Any]] = [
    (NOW, "2020-01-02T03:04:05.000006+00:00"),
    (datetime.date(2020, 1, 2), "2020-01-02"),
    (datetime.time(1, 2), "01:02:00"),
    (datetime.timedelta(days=1, seconds=3), "P1DT0H0M3S"),
    (datetime.timedelta(days=999_999_999), "999999999 days, 0:00:00"),
    (pd.Timestamp(1_000_000_001), "1970-01-01T00:00:01.000000001"),
    (np.datetime64("2020-01-02T03"), "2020-01-02T03"),
    (np.array(["2020-01-02", "NaT"], "datetime64[ns]"), ["2020-01-02T00:00:00.000000000", None]),
    (Timestamp(micros=1_500_000), "1970-01-01T00:00:01.500000Z"),
    (decimal.Decimal("1.10"), "1.10"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (2**64 - 1, 2**64 - 1),
    (1e-12, 1e-12),
    (0.1 + 0.2, 0.30000000000000004),
    (float("nan"), None),
    (float("-inf"), None),
    (np.float16("nan"), None),
    ([float("nan"), np.float32("inf"), 1.5], [None, None, 1.5]),
    (pd.NA, None),
    (pd.NaT, None),
    (np.bool_(True), True),
    (np.array([1, 2], np.uint8), [1, 2]),
    (np.array([b"\xff"], object), ["/w=="]),
    (pd.Series([1, 2]), [1, 2]),
    (pa.scalar(3), 3),
]


def test_values_of_all_kinds_in_json(tmp_path: Path) -> None:
    rows = [beam.Row(value=value) for value, _ in READABLE]
    kinds = [("value", typehints.Any)]
    lines = written_rows("WriteToJson", kinds, rows, tmp_path).read_text().splitlines()
    found = [json.loads(line, parse_constant=pytest.fail)["value"] for line in lines]
    assert found == [expected for _, expected in READABLE]


@pytest.mark.parametrize("sink", ["WriteToParquet", "WriteToCsv"])
def test_values_of_all_kinds_in_cells(sink: str, tmp_path: Path) -> None:
    rows = [beam.Row(i=i, value=value) for i, (value, _) in enumerate(READABLE)]
    path = written_rows(sink, [("i", int), ("value", typehints.Any)], rows, tmp_path)
    if sink == "WriteToParquet":
        found = pq.read_table(path)["value"].to_pylist()
    else:
        with path.open() as file:
            found = [row["value"] or None for row in csv.DictReader(file)]
    expected = [each for _, each in READABLE]
    if sink == "WriteToCsv":
        expected[expected.index(True)] = "True"
    assert found == [each if isinstance(each, str) else as_json(each) for each in expected]


def test_pandas_writes_json_where_its_options_are_given(tmp_path: Path) -> None:
    kinds = [("when", typehints.Any), ("x", typehints.Any)]
    rows = [beam.Row(when=NOW, x="abc"), beam.Row(when=None, x=float("nan"))]
    path = written_rows("WriteToJson", kinds, rows, tmp_path, lines=False)
    assert json.loads(path.read_text()) == [
        {"when": NOW.isoformat(), "x": "abc"},
        {"when": None, "x": None},
    ]


NAN = float("nan")
DAY = datetime.date(2020, 1, 2)
#: Types of columns; values that are of others, as pandas finds in files whose first lines showed
#: other types; and what becomes of them.
MISFITS: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "count": (np.int64, [1, NAN, "abc", 2.5, "12"], [1, None, None, None, 12]),
    "small": (np.int8, [1, 300, 2.0, -129, np.int64(3)], [1, None, 2, None, 3]),
    "unsigned": (np.uint64, [2**64 - 1, -1], [2**64 - 1, None]),
    "ratio": (float, [2, "2.5", "abc", 2**60 + 1], [2.0, 2.5, None, float(2**60)]),
    "good": (bool, [True, "abc", 1, np.bool_(False)], [True, None, None, False]),
    "text": (str, ["a", NAN, 12, {}, "\ud800"], ["a", None, "12", "{}", "?"]),
    "raw": (bytes, [b"a", bytearray(b"b"), 3], [b"a", b"b", None]),
    "when": (datetime.datetime, [NOW, pd.NaT, "x"], [NOW, None, None]),
    "instant": (Timestamp, [Timestamp.from_utc_datetime(NOW)], [NOW]),
    "day": (Optional[datetime.date], [DAY, "never"], [DAY, None]),  # noqa: UP045
    "vector": (Sequence[float], [[1.0, 2], ["a"], 5, "ab"], [[1.0, 2.0], None, None, None]),
    "part": (
        Part,
        [Part("a", 1), {"score": 2**60 + 1}, 0],
        [{"label": "a", "score": 1.0}, {"label": None, "score": float(2**60)}, None],
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_values_that_do_not_fit_their_column_of_parquet(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """They are left out, counted and said; none is changed, and none ends the job."""
    sinks._noted.clear()
    hint, values, expected = MISFITS[name]
    kind, convert = sinks._parquet_column(name, hint)
    assert pa.array([convert(value) for value in values], kind).to_pylist() == expected
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (name not in ("text", "instant"))
    assert all(f"column {name!r} has the type {kind}, which the value" in each for each in said)


def test_values_that_do_not_fit_their_column_of_csv() -> None:
    """A cell may hold any but for numbers, which options of pandas format."""
    cells = [sinks._csv_column("a", np.int64)[1](value) for value in (1, NAN, "abc", 2.5, True)]
    assert cells == ["1", None, "abc", "2.5", "True"]
    assert [sinks._csv_column("a", float)[1](value) for value in (1, "abc")] == [1.0, None]


@pytest.mark.parametrize("sink", ["WriteToParquet", "WriteToJson", "WriteToCsv"])
def test_columns_without_values_at_first(sink: str, tmp_path: Path) -> None:
    kinds: list[tuple[str, Any]] = [
        ("id", int),
        ("day", Optional[datetime.date]),  # noqa: UP045
        ("count", Optional[int]),  # noqa: UP045
        ("any", typehints.Any),
    ]
    late = beam.Row(id=1500, day=datetime.date(2020, 1, 2), count=2**60 + 1, any=[1])
    rows = [beam.Row(id=i, day=None, count=None, any=None) for i in range(1500)]
    path = written_rows(sink, kinds, [*rows, late], tmp_path)
    if sink == "WriteToParquet":
        found = list(pq.read_table(path).to_pylist()[-1].values())
        assert found == [1500, datetime.date(2020, 1, 2), 2**60 + 1, "[1]"]
    elif sink == "WriteToJson":
        found = list(json.loads(path.read_text().splitlines()[-1]).values())
        assert found == [1500, "2020-01-02", 2**60 + 1, [1]]
    else:
        assert path.read_text().splitlines()[-1] == f"1500,2020-01-02,{2**60 + 1},[1]"


def test_lines_that_beams_loader_notes_are_no_options() -> None:
    given: list[Any] = []

    def write(path: str, compression: Any) -> beam.PTransform:
        given.append((path, compression))
        return beam.Map(print)

    noted = {"method": "gzip", "__line__": 3, "__uuid__": "x"}
    sinks._sink(write, sinks._write_csv)(path="x", compression=noted)
    assert given == [("x", {"method": "gzip"})]

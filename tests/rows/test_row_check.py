"""Rows whose values are not what their class says: a failure row each, and the job finishes."""

# The annotations are not postponed: Beam reads them.

import collections
import dataclasses
import datetime
import decimal
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.coders import RowCoder, registry
from apache_beam.typehints import schemas, typehints
from apache_beam.typehints.row_type import RowTypeConstraint
from support import sink
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import ElementError, pipeline
from pipelines_beam.parquet import ReadFromParquet
from transforms.rows.row_check import KeyCheck, RowCheck, column_type
from transforms.stages.failure_rows import failure, failure_type
from transforms.stages.record import Record

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


class Inner(NamedTuple):
    a: int


class Named(NamedTuple):
    id: int
    text: str
    rating: float
    tags: list[float]
    inner: Inner
    anything: dict  # type: ignore[type-arg]
    mapping: typing.Mapping  # type: ignore[type-arg]
    labels: list[tuple[str, float]]
    either: int | str | None
    small: np.int8


@dataclasses.dataclass
class Data:
    id: int
    text: str
    rating: float
    tags: list[float]
    inner: Inner
    anything: dict  # type: ignore[type-arg]
    mapping: typing.Mapping  # type: ignore[type-arg]
    labels: list[tuple[str, float]]
    either: int | str | None
    small: np.int8


RIGHT: dict[str, Any] = {
    "id": 1,
    "text": "good",
    "rating": 0.5,
    "tags": [0.5, 1.0],
    "inner": Inner(1),
    "anything": {"x": 1},
    "mapping": {1: {"y": None}},
    "labels": [("a", 0.5)],
    "either": "a",
    "small": np.int8(-3),
}
#: Columns that are not as they were declared, and come out as they are.
KEPT: list[dict[str, Any]] = [
    {},
    dict.fromkeys(set(RIGHT) - {"id", "text"}),
    {"rating": np.float32(0.5), "small": np.int64(-3), "tags": np.array([0.5, 1.0])},
    {"rating": 2, "small": -3.0, "tags": (1, 0.5)},
]
#: What no column of such a type can hold.
REFUSED: list[dict[str, Any]] = [
    {"id": 2**63},
    {"id": 2.5},
    {"id": "1"},
    {"rating": "0.5"},
    {"rating": decimal.Decimal("0.5")},
    {"text": b"good"},
    {"text": "\ud800"},
    {"tags": [1.0, None]},
    {"tags": "abc"},
    {"inner": Inner(None)},  # type: ignore[arg-type]
    {"inner": (1,)},
    {"small": 2**15},
]


def answered(rows: list[Any], element_type: Any, transform: Any) -> tuple[list[Any], list[Any]]:
    """The results and failures of rows of a type, both encoded on their way."""
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        given = p | beam.Create([0], reshuffle=False) | beam.FlatMap(lambda _: rows)
        given.element_type = element_type
        for label, found in zip("gb", given | transform.with_exception_handling(), strict=True):
            pairs = found | f"{label} all" >> beam.Reshuffle()
            pairs | f"{label} kept" >> beam.Map(lambda x, label=label: sink.collect((label, x)))
    good = [found for label, found in sink.collected if label == "g"]
    return good, [found for label, found in sink.collected if label == "b"]


@pytest.mark.parametrize("kind", [Named, Data])
def test_rows_that_are_not_what_their_class_says(kind: Any, model: Model) -> None:
    transform = pipeline("text-classification", model("bert-classification"), input="text")
    rows = [kind(**{**RIGHT, **changed}) for changed in (*KEPT, *REFUSED)]
    for i, row in enumerate(rows[: len(KEPT)]):
        rows[i] = dataclasses.replace(row, id=i) if kind is Data else row._replace(id=i)
    good, bad = answered(rows, kind, transform)
    assert len(good) == len(KEPT)
    for row in good:
        assert row.label == "neutral"
        for name, value in {**RIGHT, **KEPT[row.id]}.items():
            found = getattr(row, name)
            expected = value.tolist() if isinstance(value, np.ndarray) else value
            if isinstance(value, tuple) and name == "tags":
                expected = list(value)
            assert name == "id" or found == expected, name
    assert {row.stage for row in bad} == {"preprocess"}
    assert sorted(row.message.partition("'")[2].partition("'")[0] for row in bad) == sorted(
        name for changed in REFUSED for name in changed
    )
    assert sorted(map(repr, (row.element for row in bad))) == sorted(map(repr, rows[len(KEPT) :]))


def test_the_message_names_the_column_its_type_and_the_value(model: Model, run: Run) -> None:
    transform = pipeline("text-classification", model("bert-classification"), input="text")
    with pytest.raises(
        ElementError,
        match=r"column 'id' has the type Optional\[int\], which cannot hold float 2.5: convert it",
    ):
        run([Named(**{**RIGHT, "id": 2.5})], transform)


def test_what_is_no_such_row() -> None:
    check = RowCheck({"text": str | None, "id": Any})
    check(beam.Row(text="a", id=1), {"text": "a", "id": 1})
    with pytest.raises(TypeError, match="the row has no column 'id'"):
        check(beam.Row(text="a"), {"text": "a"})
    with pytest.raises(TypeError, match="the row is a dict"):
        check({"text": "a", "id": 1}, {"text": "a", "id": 1})


def test_rows_that_a_preprocess_of_the_user_s_has_let_through(model: Model) -> None:
    def count(chunks: Any) -> int:
        return len(chunks)

    own = beam.Map(lambda row: Record(row, row.text, [], [0]))
    transform = pipeline(
        "text-classification",
        model("bert-classification"),
        input="text",
        preprocess=own,
        postprocess=count,
    )
    rows = [Named(**RIGHT), Named(**{**RIGHT, "tags": [None]})]
    good, bad = answered(rows, Named, transform)
    assert [row.inference for row in good] == [0]
    assert [(row.stage, row.element) for row in bad] == [("postprocess", rows[1])]
    assert "column 'tags'" in bad[0].message


def test_a_key_that_is_not_what_its_type_says(model: Model) -> None:
    binding = pipeline("text-classification", model("bert-classification"), keyed=True).plan.binding
    check = binding.holding(typehints.Tuple[int, str]).example
    assert check((1, "good")) == "good"
    for key in (None, 2.5, "1", 2**63):
        with pytest.raises(TypeError, match="the key has the type int, which cannot hold"):
            check((key, "good"))
    pairs = binding.holding(typehints.Tuple[typehints.Tuple[int, str], str]).example
    assert pairs(((1, "a"), "good")) == "good"
    with pytest.raises(TypeError, match=r"the key has the type Tuple.*tuple \(1, None\)"):
        pairs(((1, None), "good"))
    assert KeyCheck.of(Any) is None
    assert KeyCheck.of(typehints.Any) is None


# what Beam's coder makes of it


KINDS: list[Any] = [
    str,
    bytes,
    bool,
    int,
    float,
    np.int8,
    np.int16,
    np.int32,
    np.float32,
    list[int],
    list[float],
    list[float | None],
    Sequence[str],
    set[int],
    tuple[float, ...],
    dict[str, float],
    dict[str, list[int]],
    Inner,
    list[Inner],
    decimal.Decimal,
    beam.utils.timestamp.Timestamp,
    typehints.List[float],
    typehints.Dict[str, int],
    RowTypeConstraint.from_fields([("a", int)]),
]
VALUES: list[Any] = [
    *(None, 0, 1, -1, 200, 2.5, -2.0, 2**31, 2**40, 2**53 + 1, 2**63, -(2**63), 10**400, True),
    *("", "abc", "é", "\ud800", b"x", bytearray(b"x"), memoryview(b"x")),
    *(np.int8(-1), np.int64(2**40), np.uint64(2**63), np.float32(0.5), np.float64(0.5), 1e300),
    *(np.bool_(True), np.str_("x"), np.bytes_(b"x"), float("inf"), 1 + 2j),
    *([], [1], [1, None], [0.5, 1], [True], ["a"], ["a", 1], (1, 2), (1, "a"), {1, 2}, range(3)),
    *({}, {"a": 1.0}, {"a": None}, {1: 1.0}, {"a": [1]}, {"a": ["b"]}, collections.Counter("a")),
    *(np.array([1, 2]), np.array([0.5]), np.array(3), np.array([[1.0]]), iter([1])),
    *(Inner(1), Inner(None), beam.Row(a=1), beam.Row(b=1)),  # type: ignore[arg-type]
    *([Inner(1)], [Inner(2.5)], [{"a": 1}]),  # type: ignore[arg-type]
    *(decimal.Decimal("1.5"), decimal.Decimal("nan"), beam.utils.timestamp.Timestamp(1)),
]


def as_lists(value: Any) -> Any:
    """The value with lists for what is one in a schema, and for rows."""
    if isinstance(value, beam.Row):
        return list(value.as_dict().values())
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple | set | range):
        return list(map(as_lists, value))
    return value


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_a_column_holds_comes_out_of_the_coder_as_it_is(kind: Any) -> None:
    column = column_type(kind)
    row_type = RowTypeConstraint.from_fields([("value", column)])
    coder = RowCoder(schemas.schema_from_element_type(row_type))
    check = RowCheck({"value": column})
    held, refused = [], []
    for value in VALUES:
        row = beam.Row(value=value)
        try:
            check(row, {"value": value})
        except TypeError:
            refused.append(value)
            continue
        held.append(value)
        found, expected = as_lists(coder.decode(coder.encode(row)).value), as_lists(value)
        assert found == expected, value
    assert len(held) >= 2
    assert len(refused) >= 10


@pytest.mark.parametrize(
    "kind",
    [
        *(dict, list, tuple, set, typing.Mapping, typing.Sequence, Mapping),
        *(collections.OrderedDict, collections.Counter[str], list[dict], dict | None),  # type: ignore[type-arg]
        *(tuple[int, str], list[tuple[str, float]], typehints.Tuple[int, str]),
        *(int | str, int | str | None, list[int | str], list[tuple[int, str]] | None),
        *(collections.namedtuple("Untyped", "a b"), typing.TypedDict("Typed", {"a": int})),  # type: ignore[operator]
        *(np.ndarray, np.ndarray[Any, np.dtype[np.float32]], datetime.datetime, object, Any),
    ],
    ids=str,
)
def test_a_column_that_no_schema_can_say_holds_anything(kind: Any) -> None:
    column = column_type(kind)
    check = RowCheck({"value": column})
    row_type = RowTypeConstraint.from_fields([("value", column)])
    coder = RowCoder(schemas.schema_from_element_type(row_type))
    for value in (None, {"a": 1}, [1, "b", None], (1, "b"), 2**70, Inner(1), {1: {"y": [2]}}):
        row = beam.Row(value=value)
        check(row, {"value": value})
        found = coder.decode(coder.encode(row)).value
        assert (type(found), found) == (type(value), value)


#: What the function below returns, by text.
RETURNED: dict[str, Any] = dict(
    zip(CORPUS, (0.5, None, "none", [1.0], 10**400, np.float32(0.5), 7), strict=False)
)


@pytest.mark.parametrize("kind", [dict, beam.Row])
def test_a_postprocess_that_is_not_annotated_right(kind: Any, model: Model) -> None:
    texts = iter(RETURNED.values())

    def post(outputs: Any) -> float:
        found: float = next(texts)
        return found

    transform = pipeline(
        "text-classification", model("bert-classification"), input="text", postprocess=post
    )
    rows = [kind(text=text) for text in RETURNED]
    row_type = RowTypeConstraint.from_fields([("text", str)])
    good, bad = answered(rows, typehints.Any if kind is dict else row_type, transform)
    found = [row["inference"] if kind is dict else row.inference for row in good]
    assert sorted(found) == [0.5, 0.5, 7.0]
    assert {row.stage for row in bad} == {"postprocess"}
    assert len(bad) == 4
    for row in bad:
        assert "the prediction's column 'inference' cannot hold" in row.message
    assert any("cannot hold None" in row.message for row in bad)


# files, and failures


def test_negative_numbers_of_one_byte_in_parquet(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "small.parquet"
    table = pa.table(
        {"id": pa.array([-3, 3], pa.int8()), "ids": pa.array([[-1], [1]], pa.list_(pa.int8()))}
    )
    pq.write_table(table, path)
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        p | ReadFromParquet(str(path)) | beam.Reshuffle() | beam.Map(sink.collect)
    assert sorted((row.id, row.ids) for row in sink.collected) == [(-3, [-1]), (3, [1])]


class Gaps(NamedTuple):
    id: int
    text: str
    rating: float


def test_rows_with_gaps_in_a_file(model: Model, run: Run, tmp_path: Path) -> None:
    transform = pipeline("text-classification", model("bert-classification"), input="text")
    scores: Any = (0.5, None, np.float32(0.5))
    rows = [Gaps(i, "good", score) for i, score in enumerate(scores)]
    run(rows, transform, beam.io.WriteToParquet(str(tmp_path / "part")))
    (path,) = tmp_path.glob("part*")
    table = pq.read_table(path).sort_by("id")
    assert table["label"].to_pylist() == ["neutral"] * 3
    assert table.schema.field("id").type == pa.int64()


@pytest.mark.parametrize(
    "element",
    ["\ud800", {"id": "a\ud800"}, [sys.stdout], {"read": lambda: 1}, (each for each in [1])],
    ids=["half pair", "half pair in a row", "open file", "lambda", "generator"],
)
def test_a_failure_row_of_what_beam_cannot_hand_on(element: Any) -> None:
    row = failure("preprocess", element, ValueError("of half a \ud800"))
    coder = registry.get_coder(failure_type())
    found = coder.decode(coder.encode(row))
    assert found.message == r"of half a \ud800"
    assert r"half a \ud800" in found.traceback
    assert isinstance(found.element, str)
    assert found.element.isascii()

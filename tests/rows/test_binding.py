"""Rows of every kind work, and what their types say is checked while the pipeline is built."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections import UserDict, namedtuple
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.typehints import typehints
from support import sink
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import pipeline
from pipelines_beam.parquet import ReadFromParquet
from transforms.rows.row_types import fields_of
from transforms.tasks.columns import Image

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


@dataclasses.dataclass
class Data:
    id: int
    text: str


@dataclasses.dataclass(frozen=True)
class Frozen:
    id: int
    text: str


@dataclasses.dataclass(slots=True)
class Slots:
    id: int
    text: str


class Named(NamedTuple):
    id: int
    text: str


class Typed(typing.TypedDict):
    id: int
    text: str


Untyped = namedtuple("Untyped", "id text")


Inner = NamedTuple("Inner", [("text", str)])  # noqa: UP014 - its types are not postponed


class Nested(NamedTuple):
    id: int
    text: str
    inner: Inner
    images: Sequence[Image]


def nested(id: int, text: str) -> Nested:
    return Nested(id, text, Inner("x"), [Image(b"x", None)])


def strange(id: int, text: str) -> Any:
    return {"id": id, "text": text, "not a name": 1, "class": 2}


KINDS: dict[str, Callable[..., Any]] = {
    "dict": dict,
    "user dict": lambda **columns: UserDict(columns),
    "Row": beam.Row,
    "NamedTuple": Named,
    "namedtuple": Untyped,
    "dataclass": Data,
    "frozen": Frozen,
    "slots": Slots,
    "nested": nested,
    "strange names": strange,
}


def columns(row: Any) -> dict[str, Any]:
    return dict(row) if isinstance(row, dict) else dict(row._asdict())


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_every_kind(kind: str, keyed: bool, model: Model, run: Run) -> None:
    transform = pipeline(
        "text-classification", model("bert-classification"), input="text", keyed=keyed
    )

    def made(i: int) -> Any:  # in the same stage: some cannot be pickled on their way
        row = KINDS[kind](id=i, text=CORPUS[i])
        return (i, row) if keyed else row

    found = run([0, 1, 2], beam.Map(made).with_output_types(typehints.Any), transform)
    plain = run(list(CORPUS[:3]), pipeline("text-classification", model("bert-classification")))
    expected = {each.example: each.inference[0]["label"] for each in plain}
    assert len(found) == 3
    for row in found:
        if keyed:
            key, row = row  # noqa: PLW2901
            assert key == columns(row)["id"]
        cells = columns(row)
        assert cells["label"] == expected[cells["text"]]
        assert list(cells)[:2] == ["id", "text"]
        assert list(cells)[-2:] == ["label", "score"]


@pytest.mark.parametrize("kind", [Data, Frozen, Slots, Named, Nested])
def test_rows_of_classes_have_a_schema_afterwards(
    kind: Any, model: Model, run: Run, tmp_path: Any
) -> None:
    transform = pipeline("text-classification", model("bert-classification"), input="text")
    rows = [nested(1, "good") if kind is Nested else kind(1, "good")]
    run(rows, transform, beam.io.WriteToParquet(str(tmp_path / "part")))
    (path,) = tmp_path.glob("part*")
    table = pq.read_table(path)
    assert table.column_names == [*(fields_of(kind) or ()), "label", "score"]
    assert table["text"].to_pylist() == ["good"]
    assert table.schema.field("id").type == pa.int64()


def built(element_type: Any, **options: Any) -> None:
    """Build, and do not run, a pipeline on elements of a type."""
    model = options.pop("model")
    p = beam.Pipeline(RUNNER)
    elements = p | beam.Create([0], reshuffle=False) | beam.Map(lambda x: x)
    elements.element_type = element_type
    elements | pipeline(options.pop("task", "text-classification"), model, **options)


ROWS: dict[str, Any] = {
    "dataclass": Data,
    "frozen": Frozen,
    "slots": Slots,
    "NamedTuple": Named,
    "namedtuple": Untyped,
    "TypedDict": Typed,
    "Row": beam.typehints.row_type.RowTypeConstraint.from_fields([("id", int), ("text", str)]),
    "optional dataclass": Data | None,
    "optional NamedTuple": typehints.Optional[Named],
    "optional TypedDict": Typed | None,
}


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"txt": pa.string()}, {}, r"unknown column 'text'\. Did you mean 'txt'\? Valid: id, txt$"),
        ({"text": pa.int64()}, {}, "'text' has the type int, and text must be str"),
        ({"text": pa.timestamp("us")}, {}, "'text' has the type datetime, and text must be str"),
        ({"text": pa.decimal128(5, 2)}, {}, "'text' has the type Decimal"),
        ({"text": pa.list_(pa.string())}, {}, "'text' has the type list"),
        ({"text": pa.string(), "label": pa.string()}, {}, "have a column 'label' already"),
        ({"text": pa.string()}, {"output": "id"}, "'id' already, so output='id' cannot be"),
        ({"text": pa.string()}, {"input": None}, "columns id, text: set input='text'"),
    ],
)
def test_schemas_of_rows_that_cannot_be_answered(
    columns: dict[str, pa.DataType], options: dict[str, Any], message: str
) -> None:
    transform = pipeline("text-classification", "a/model", **{"input": "text", **options})
    with pytest.raises(ValueError, match=message):
        transform.schema(pa.schema({"id": pa.int64(), **columns}))


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.null(),
    ],
)
def test_schemas_of_rows_that_may_be_answered(kind: pa.DataType) -> None:
    transform = pipeline("text-classification", "a/model", input="my text", output="my label")
    found = transform.schema(pa.schema({"my text": kind}))
    assert found.names == ["my text", "my label"]
    photos = pipeline("image-classification", "a/model", input="image")
    struct = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    for image in (pa.binary(), pa.string(), struct):
        assert photos.schema(pa.schema({"image": image})).names[0] == "image"


def test_a_column_of_parquet_that_is_no_text_is_refused_at_build(
    model: Model, tmp_path: Path
) -> None:
    for kind in (pa.timestamp("us", "UTC"), pa.uint64(), pa.decimal128(5, 2)):
        pq.write_table(pa.table({"text": pa.nulls(1, kind)}), tmp_path / "in.parquet")
        rows = beam.Pipeline(RUNNER) | ReadFromParquet(str(tmp_path / "in.parquet"))
        with pytest.raises(ValueError, match=r"'text' has the type .* and text must be str"):
            rows | pipeline("text-classification", model("bert-classification"), input="text")


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("keyed", [False, True])
def test_what_types_of_rows_say_is_checked_at_build(kind: str, keyed: bool, model: Model) -> None:
    options: dict[str, Any] = {"model": model("bert-classification"), "keyed": keyed}
    if keyed and kind == "optional TypedDict":
        pytest.skip("Beam makes Dict[str, Any] of it: nothing is known")
    element_type = typehints.Tuple[str, ROWS[kind]] if keyed else ROWS[kind]
    with pytest.raises(ValueError, match=r"input: unknown column 'txt'.*Did you mean 'text'\?"):
        built(element_type, input="txt", **options)
    with pytest.raises(ValueError, match=r"have a column 'id' already, so output='id'"):
        built(element_type, input="text", output="id", **options)
    with pytest.raises(ValueError, match=r"rows with the columns id, text: set input='text'"):
        built(element_type, **options)
    if kind != "namedtuple":
        with pytest.raises(ValueError, match=r"'id' has the type int(64)?, and text must be str"):
            built(element_type, input="id", **options)
    built(element_type, input="text", **options)


def test_what_is_no_row_or_no_pair_is_refused_at_build(model: Model) -> None:
    options: dict[str, Any] = {"model": model("bert-classification")}
    with pytest.raises(ValueError, match=r"input='text' needs rows.*got elements of the type.*str"):
        built(str, input="text", **options)
    with pytest.raises(ValueError, match=r"for .key, row. pairs, set keyed=True"):
        built(typehints.Tuple[str, Named], input="text", **options)
    with pytest.raises(ValueError, match=r"keyed=True takes .key, value. pairs, got .*Named"):
        built(Named, input="text", keyed=True, **options)
    with pytest.raises(ValueError, match=r"keyed=True takes .key, value. pairs"):
        built(str, keyed=True, **options)
    for unknown in (typehints.Any, dict[str, Any], object):
        built(unknown, input="text", **options)
    for pairs in (typehints.Any, typehints.Tuple[str, str], tuple[str, ...]):
        built(pairs, keyed=True, **options)


def test_types_of_columns_are_checked_at_build(model: Model) -> None:
    class Row(NamedTuple):
        number: int
        flag: bool
        data: bytes
        maybe: str | None
        either: int | str
        anything: Any
        words: Sequence[str]
        photo: Image
        chat: Sequence[Inner]
        when: pa.TimestampScalar

    def fails(task: str, name: str, *columns: str) -> None:
        for column in columns:
            with pytest.raises(ValueError, match=f"the column {column!r} has the type"):
                built(Row, task=task, model=model(name), input=column)

    def passes(task: str, name: str, *columns: str, **options: Any) -> None:
        for column in columns:
            built(Row, task=task, model=model(name), input=column, **options)

    fails("text-classification", "bert-classification", "number", "flag", "data", "words", "photo")
    passes("text-classification", "bert-classification", "maybe", "either", "anything", "when")
    fails("text-generation", "llama-lm", "number", "data")
    passes("text-generation", "llama-lm", "chat", "words", "maybe")
    fails("image-classification", "vit-classification", "number", "flag")
    passes("image-classification", "vit-classification", "photo", "data", "maybe", "anything")
    fails("token-classification", "bert-ner", "number", "photo")
    passes("token-classification", "bert-ner", "words", is_split_into_words=True)


@pytest.mark.parametrize("keyed", ["yes", "false", 1, None])
def test_keyed_is_true_or_false(keyed: Any, model: Model) -> None:
    with pytest.raises(TypeError, match=f"keyed must be True or False, got {keyed!r}"):
        pipeline("text-classification", model("bert-classification"), keyed=keyed)


def test_names_that_a_schema_cannot_have(model: Model) -> None:
    options: dict[str, Any] = {"model": model("bert-classification"), "input": "text"}
    for name in ("my label", "class"):
        with pytest.raises(ValueError, match=f"output='{name}'.*name of a Python variable"):
            built(Named, output=name, **options)
        built(typehints.Any, output=name, **options)
    with pytest.raises(TypeError, match="output='model_id'"):
        pipeline("text-classification", output="model_id", watch_model_pattern="x*", **options)


# what only the elements show


def failures(elements: list[Any], transform: Any) -> list[Any]:
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        anything = p | beam.Create(elements, reshuffle=False) | beam.Map(lambda x: x)
        anything.element_type = typehints.Any
        (anything | transform.with_exception_handling()).bad | beam.Map(sink.collect)
    return list(sink.collected)


def test_a_forgotten_input_names_the_columns(model: Model) -> None:
    kinds = [KINDS[name](id=1, text="good") for name in KINDS]
    transform = pipeline("text-classification", model("bert-classification"))
    found = failures(kinds, transform)
    assert len(found) == len(kinds)
    for row in found:
        assert "rows with the columns id, text" in row.message
        assert "set input='text'" in row.message
        assert row.stage == "preprocess"


def test_likely_columns_of_a_forgotten_input(model: Model) -> None:
    def said(task: str, name: str, element: Any) -> str:
        (row,) = failures([element], pipeline(task, model(name)))
        found: str = row.message
        return found

    bert = ("text-classification", "bert-classification")
    assert "set input='title' or 'body'" in said(*bert, {"id": 1, "title": "a", "body": "b"})
    assert "set input to a column" in said(*bert, {"id": 1, "number": 2})
    answers = said("question-answering", "bert-qa", {"id": 1, "question": "a", "body": "b"})
    assert "set input={'question': 'question', 'context': '…'}" in answers
    vit = ("image-classification", "vit-classification")
    assert "set input='photo'" in said(*vit, {"id": 1, "photo": b"\x89PNG"})
    assert "set input='image'" in said(*vit, beam.Row(id=1, image=b"\x89PNG"))
    assert "set input" not in said(*bert, {"text": 5})
    assert "set input" not in said(*bert, 5)


def test_methods_of_rows_are_no_columns(model: Model) -> None:
    transform = pipeline("text-classification", model("bert-classification"), input="count")
    found = failures([Named(1, "a"), beam.Row(text="a"), Data(1, "a"), {"text": "a"}], transform)
    assert len(found) == 4
    assert all("unknown column 'count'" in row.message for row in found)
    (row,) = failures([types.SimpleNamespace(count="a")], transform)
    assert "dataclass or dict), got SimpleNamespace" in row.message

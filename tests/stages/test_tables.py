"""Tables as elements: the rows of a table are answered as rows on their own are."""

from __future__ import annotations

import contextlib
import io
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from apache_beam.ml.inference.base import ModelMetadata
from apache_beam.transforms.window import FixedWindows, TimestampedValue
from cases import CASES, Case
from PIL import Image
from support import sink
from support.comparing import equal, same
from support.runs import RUNNER, answers_and_failures
from support.texts import CORPUS

from pipelines_beam import TextClassification, pipeline
from transforms.stages import table_in_flight
from transforms.tasks import find

Model = Callable[[str], str]
Run = Callable[..., list[Any]]

MIXED = pa.table(
    {
        "id": pa.array(range(7), pa.int32()),
        "text": ["Yes", None, "a", "A much longer text than that.", "", "two words", "b"],
        "kind": pa.array(list("xyxyxyx")).dictionary_encode(),
        "nested": [{"a": [i]} for i in range(7)],
    }
)


def cell(value: Any) -> Any:
    """An input of a case as a table holds it."""
    if isinstance(value, Image.Image):
        file = io.BytesIO()
        value.save(file, format="PNG")
        return {"bytes": file.getvalue(), "path": None}
    if isinstance(value, np.ndarray):
        return {"array": value.astype(np.float32), "sampling_rate": 16_000}
    if isinstance(value, Mapping):
        return {name: cell(each) for name, each in value.items()}
    if not isinstance(value, list | tuple):
        return value
    items = list(map(cell, value))
    return json.dumps(items) if isinstance(value[0], tuple) else items


#: Tasks that are tried each time: one for each kind of input.
_QUICK = {
    "text-classification",
    "question-answering",
    "image-classification",
    "audio-classification",
    "text-generation",
}


def opened(value: Any) -> Any:
    """A cell with images and sounds in place of their files, of which no byte need be the same."""
    if isinstance(value, Mapping) and value.keys() == {"bytes", "path"} and value["bytes"]:
        if value["bytes"].startswith(b"RIFF"):
            return soundfile.read(io.BytesIO(value["bytes"]))[0]
        if value["bytes"].startswith(b"\x89PNG"):
            return Image.open(io.BytesIO(value["bytes"]))
    if isinstance(value, Mapping):
        return {name: opened(each) for name, each in value.items()}
    return list(map(opened, value)) if isinstance(value, list) else value


def first_cases() -> Iterator[Any]:
    known = {find(case.task).name: case for case in reversed(CASES)}
    for name, case in sorted(known.items()):
        slow = () if name in _QUICK else (pytest.mark.slow,)
        yield pytest.param(case, marks=(*case.marks, *slow), id=name)


def of_case(case: Case) -> tuple[pa.Table, Any]:
    """Inputs of a case that fit one column as a table, and the option that says where they are."""
    inputs: list[Any] = []
    for each in map(cell, case.inputs):
        if not inputs or type(each) is type(inputs[0]):
            with contextlib.suppress(pa.ArrowInvalid, pa.ArrowTypeError):
                pa.array([*inputs, each])
                inputs.append(each)
    ids = {"id": list(range(len(inputs)))}
    if not isinstance(inputs[0], Mapping) or not inputs[0].keys() <= find(case.task).inputs.keys():
        return pa.table({**ids, "given": inputs}), "given"
    columns = {f"the {name}": [each.get(name) for each in inputs] for name in inputs[0]}
    return pa.table({**ids, **columns}), {name: f"the {name}" for name in inputs[0]}


@pytest.mark.parametrize("case", list(first_cases()))
def test_rows_of_tables_are_answered_as_rows(case: Case, model: Model) -> None:
    table, column = of_case(case)
    options = {**case.arguments(model), "input": column, "batch_size": 1}
    transform = pipeline(case.task, case.directory(model), **options)

    with case.around():
        rows, failures = answers_and_failures(table.to_pylist(), transform)
    with case.around():
        found = answered_and_failed([table], transform)

    answered = found[0]
    assert answered.schema.equals(transform.schema(table.schema), check_metadata=True)
    answered.validate(full=True)
    expected = pa.Table.from_pylist(sorted(rows, key=operator.itemgetter("id")), answered.schema)
    assert len(expected) > 1
    answers = opened(expected.to_pylist()), opened(answered.to_pylist())
    for expected_row, row in zip(*answers, strict=True):
        assert expected_row.keys() == row.keys()
        for name, own in expected_row.items():
            assert equal(own, row[name], case.tolerance), name
    own = sorted((row.element["id"], row.stage, row.message) for row in failures)
    assert own == [
        (row["element"]["id"], row["stage"], row["message"])
        for table in found[1:]
        for row in table.to_pylist()
    ]


def answered_and_failed(given: list[Any], transform: Any) -> list[Any]:
    """What becomes of one table: a table, and one of failure rows if there are any."""
    found, _ = answers_and_failures(given, transform)
    return sorted(found, key=lambda table: "element" in table.schema.names)


def transform(model: Model, **options: Any) -> Any:
    return TextClassification(model("bert-classification"), input="text", **options)


def expected_of(table: pa.Table, model: Model) -> list[Any]:
    rows = [row for row in table.to_pylist() if row["text"] is not None]
    (found, _) = answers_and_failures(rows, transform(model))
    return sorted(found, key=lambda row: row["id"])


@pytest.mark.parametrize("kind", [pa.Table, pa.RecordBatch])
def test_failed_rows_are_rows_of_a_table(kind: Any, model: Model) -> None:
    given = MIXED if kind is pa.Table else MIXED.combine_chunks().to_batches()[0]
    scorer = transform(model)

    answered, failed = answered_and_failed([given], scorer)

    assert same(expected_of(MIXED, model), answered.to_pylist(), 1e-6)
    assert failed.schema.equals(scorer.failure_schema(MIXED.schema))
    failed.validate(full=True)
    (row,) = failed.to_pylist()
    assert row["element"] == MIXED.slice(1, 1).to_pylist()[0]
    assert (row["stage"], row["kind"], row["error"], row["attempts"]) == (
        *("preprocess", "data", "TypeError"),
        1,
    )
    assert "text must be a string, got None" in row["message"]
    assert "Traceback" in row["traceback"]


def test_without_failure_rows_the_job_fails_and_names_the_row(model: Model, run: Run) -> None:
    with pytest.raises(Exception, match=r"preprocess failed for the element .*'id': 1,"):
        run([MIXED], transform(model))


def test_a_failure_of_the_model_names_its_stage(model: Model) -> None:
    """Texts beyond what the model takes, which the tokenizer does not cut."""
    table = pa.table({"id": [0, 1, 2], "text": ["a", "word " * 2000, "b"]})
    answered, failed = answered_and_failed([table], transform(model))
    assert answered["id"].to_pylist() == [0, 2]
    assert failed["stage"].to_pylist() == ["forward"]


def test_columns_of_all_encodings(model: Model, run: Run) -> None:
    texts = [*CORPUS[:6], CORPUS[0]]
    plain = run([pa.table({"text": texts})], transform(model))[0]
    halves = [pa.array(texts[:3]), pa.array(texts[3:3], pa.string()), pa.array(texts[3:])]
    for column in (
        pa.chunked_array(halves),
        pa.array(texts, pa.large_string()),
        pa.array(texts, pa.string_view()),
        pa.array(texts).dictionary_encode(),
    ):
        table = pa.table({"text": column})
        (found,) = run([table], transform(model))
        assert found.schema.field("text").type == column.type
        assert found.select(["text"]).equals(table)
        assert same(found["score"].to_pylist(), plain["score"].to_pylist(), 1e-6)


def test_failures_in_columns_of_all_encodings(model: Model) -> None:
    texts = ["a", None, "b", None, None, "c"]
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())):
        table = pa.table({"text": pa.array(texts).cast(kind), "id": range(6)})
        answered, failed = answered_and_failed([table], transform(model))
        assert answered["id"].to_pylist() == [0, 2, 5]
        assert [row["id"] for row in failed["element"].to_pylist()] == [1, 3, 4]


def test_an_empty_table_is_one_with_the_columns(model: Model, run: Run) -> None:
    scorer = transform(model)
    (found,) = run([MIXED.slice(0, 0)], scorer)
    assert len(found) == 0
    assert found.schema == scorer.schema(MIXED.schema)


def test_many_tables_keep_the_order_of_their_rows(
    model: Model, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_in_flight, "BLOCK_ROWS", 3)
    texts = [CORPUS[i % len(CORPUS)] for i in range(40)]
    given = pa.table({"id": range(40), "text": texts})
    pieces = [given.slice(0, 13), given.slice(13, 1), given.slice(14, 0), given.slice(14)]
    expected = expected_of(given, model)
    found = run(pieces, transform(model, batch_size=4))
    assert sorted(map(len, found)) == sorted(map(len, pieces))
    found.sort(key=lambda table: table["id"].to_pylist())
    assert same(pa.concat_tables(found).to_pylist(), expected, 1e-6)
    assert all(table["id"].to_pylist() == sorted(table["id"].to_pylist()) for table in found)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"id": [1, 2], "body": ["a", "b"]}), "unknown column 'text'.*body, id"),
        (pa.table({"text": ["a", "b"], "label": [1, 2]}), "have a column 'label' already"),
        (pa.table({"text": [1, 2]}), "column 'text' has the type int"),
        (pa.table([["a", "b"], [1, 2], [3, 4]], names=["text", "x", "x"]), "two columns 'x'"),
    ],
)
def test_all_rows_of_a_table_with_wrong_columns_fail(
    table: pa.Table, message: str, model: Model, run: Run
) -> None:
    good = pa.table({"text": ["good"]})
    answered, failed = answered_and_failed([table, good], transform(model))
    assert answered["text"].to_pylist() == ["good"]
    assert failed["error"].to_pylist() == ["ValueError"] * 2
    for row in failed["message"].to_pylist():
        assert re.search(message, row)
    with pytest.raises(Exception, match=message):
        run([table], transform(model))


def test_windows_and_timestamps_are_the_tables_own(model: Model) -> None:
    sink.collected.clear()
    pieces = [MIXED.slice(0, 1), MIXED.slice(2, 3)]
    stamped = [TimestampedValue(table, 100 * i + 5) for i, table in enumerate(pieces)]

    def seen(
        table: pa.Table, time: Any = beam.DoFn.TimestampParam, own: Any = beam.DoFn.WindowParam
    ) -> tuple[Any, ...]:
        return len(table), float(time), float(own.start)

    with beam.Pipeline(RUNNER) as p:
        (
            p
            | beam.Create(stamped, reshuffle=False)
            | beam.Map(lambda stamped: stamped).with_output_types(pa.Table)
            | beam.WindowInto(FixedWindows(50))
            | transform(model)
            | "Seen" >> beam.Map(seen)
            | beam.Map(sink.collect)
        )
    assert sorted(sink.collected) == [(1, 5.0, 0.0), (3, 105.0, 100.0)]
    sink.collected.clear()


def test_from_parquet_to_parquet(model: Model, tmp_path: Path) -> None:
    pq.write_table(MIXED, tmp_path / "in.parquet", row_group_size=3)
    scorer = transform(model)
    with beam.Pipeline(RUNNER) as p:
        read = p | beam.io.ReadFromParquetBatched(str(tmp_path / "in.parquet"))
        good, bad = read | scorer.with_exception_handling()
        good | beam.io.WriteToParquetBatched(
            str(tmp_path / "out"), scorer.schema(MIXED.schema), shard_name_template=""
        )
        bad | "Failed" >> beam.io.WriteToParquetBatched(
            str(tmp_path / "failed"), scorer.failure_schema(MIXED.schema), shard_name_template=""
        )
    found = pq.read_table(tmp_path / "out").to_pylist()
    assert same(sorted(found, key=lambda row: row["id"]), expected_of(MIXED, model), 1e-6)
    (row,) = pq.read_table(tmp_path / "failed").to_pylist()
    assert row["element"]["id"] == 1


def test_files_read_by_name_are_tables_unless_they_have_their_names(model: Model) -> None:
    p = beam.Pipeline()
    names = p | beam.Create(["x.parquet"])
    read = names | beam.io.ReadAllFromParquetBatched()
    assert (read | transform(model)).element_type is pa.Table
    named = names | "Named" >> beam.io.ReadAllFromParquetBatched(with_filename=True)
    assert (named | "Score" >> transform(model)).element_type is not pa.Table


def test_tables_of_unknown_type_are_refused(model: Model, run: Run) -> None:
    of_any_type = beam.Map(lambda table: table).with_output_types(Any)
    with pytest.raises(Exception, match=r"add \.with_output_types\(pyarrow\.Table\)"):
        run([MIXED], of_any_type, transform(model))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": None}, "the elements are tables: set input= to the column of text"),
        ({"keyed": True}, r"keyed=True takes \(key, value\) pairs, got elements that are tables"),
        ({"preprocess": beam.Map(str)}, "preprocess is a PTransform.*give a function"),
        ({"postprocess": beam.Map(str)}, "postprocess is a PTransform.*give a function"),
    ],
)
def test_options_that_tables_do_not_have(
    options: dict[str, Any], message: str, model: Model
) -> None:
    given = beam.Pipeline() | beam.Create([MIXED])
    own = {"input": "text", **options}
    with pytest.raises(ValueError, match=message):
        given | TextClassification(model("bert-classification"), **own)


def longest(outputs: Any) -> int:
    """A postprocess of the user's."""
    return int(outputs["logits"].argmax())


def test_functions_in_place_of_stages(model: Model, run: Run) -> None:
    table = MIXED.slice(2, 2)
    (found,) = run([table], transform(model, postprocess=longest))
    expected = [
        row["inference"] for row in run(table.to_pylist(), transform(model, postprocess=longest))
    ]
    assert sorted(found["inference"].to_pylist()) == sorted(expected)


def test_the_model_that_answered_is_a_column(model: Model) -> None:
    source = model("bert-classification")
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        update = p | "Update" >> beam.Create([ModelMetadata(source, "same")])
        given = p | beam.Create([MIXED.slice(2, 2)], reshuffle=False)
        given | transform(model, model_metadata_pcoll=update) | beam.Map(sink.collect)
    (found,) = sink.collected
    sink.collected.clear()
    assert found["model_id"].to_pylist() == [source] * 2


def test_one_column_for_the_prediction(model: Model, run: Run) -> None:
    (found,) = run([MIXED.slice(2, 2)], transform(model, output="my answer"))
    assert found.schema.names[-1] == "my answer"
    assert set(found["my answer"].to_pylist()[0]) == {"label", "score"}


class Batches(beam.DoFn):  # type: ignore[misc]
    """A step that Beam gives batches of elements."""

    def process_batch(self, batch: list[pa.Table]) -> Iterator[list[int]]:
        yield [len(table) for table in batch]

    def get_input_batch_type(self, input_element_type: Any) -> Any:
        return list[pa.Table]

    def infer_output_type(self, input_type: Any) -> Any:
        return int

    def get_output_batch_type(self, input_element_type: Any) -> Any:
        return list[int]


def test_no_table_is_lost_before_a_step_that_takes_batches(model: Model, run: Run) -> None:
    given = [MIXED.slice(2, 1), MIXED.slice(3, 2), MIXED.slice(4, 3)]
    assert sorted(run(given, transform(model), beam.ParDo(Batches()))) == [1, 2, 3]

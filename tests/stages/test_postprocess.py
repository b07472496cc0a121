"""Predictions: rows with new columns, and functions in place of the last stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import transformers
from apache_beam.testing.util import assert_that, equal_to
from support.comparing import same
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import TextClassification
from transforms.stages.record_pipeline import RecordPipeline

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


class Review(NamedTuple):
    id: int
    text: str


@pytest.mark.parametrize("kind", [dict, beam.Row, Review])
def test_rows_keep_their_columns_and_gain_the_predictions(
    model: Model, run: Run, kind: Any
) -> None:
    rows = [kind(id=i, text=text) for i, text in enumerate(CORPUS)]
    found = run(rows, TextClassification(model("distilbert-classification"), input="text"))
    assert len(found) == len(CORPUS)
    for row in found:
        cells = row if isinstance(row, dict) else row._asdict()
        assert list(cells) == ["id", "text", "label", "score"]
        assert cells["text"] == CORPUS[cells["id"]]
        assert cells["label"] in ("POSITIVE", "NEGATIVE")
        assert 0.5 <= cells["score"] <= 1


def test_rows_are_written_as_typed_parquet(model: Model, tmp_path: Path) -> None:
    transform = TextClassification(
        model("bert-classification"), input="text", output="answer", top_k=2
    )
    with beam.Pipeline(RUNNER) as p:
        (
            p
            | beam.Create([beam.Row(id=i, text=text) for i, text in enumerate(CORPUS)])
            | transform
            | beam.io.WriteToParquet(str(tmp_path / "rows"))
        )
    with beam.Pipeline(RUNNER) as p:
        schema = transform.schema(pa.schema([("id", pa.int64()), ("text", pa.string())]))
        (
            p
            | beam.Create([{"id": i, "text": text} for i, text in enumerate(CORPUS)])
            | transform
            | beam.io.WriteToParquet(str(tmp_path / "dicts"), schema)
        )
    tables = [
        pq.read_table(next(tmp_path.glob(f"{name}*"))).sort_by("id") for name in ("rows", "dicts")
    ]
    assert same(tables[0].to_pylist(), tables[1].to_pylist())
    assert tables[1].schema == schema
    assert len(tables[0]["answer"][0]) == 2


@pytest.mark.slow
def test_outputs_that_come_together_are_postprocessed_together(
    model: Model, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    inferences = RecordPipeline.inferences

    def counted(pipeline: RecordPipeline, records: Any) -> list[Any]:
        sizes.append(len(records))
        return inferences(pipeline, records)

    monkeypatch.setattr(RecordPipeline, "inferences", counted)
    texts = [f"{text} {i}" for i in range(40) for text in CORPUS]
    directory = model("bert-classification")
    found = run(texts, TextClassification(directory, batch_size=16))
    oracle = transformers.pipeline("text-classification", directory, device="cpu")
    expected = {text: oracle(text) for text in texts}
    assert same({result.example: result.inference for result in found}, expected)
    assert sum(sizes) > len(texts) / 2
    assert max(sizes) > 1


def test_one_of_outputs_that_come_together_fails_alone(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    inferences = RecordPipeline.inferences

    def with_error(pipeline: RecordPipeline, records: Any) -> list[Any]:
        found = inferences(pipeline, records)
        bad = [record.example == "bad" for record in records]
        return [ValueError("no") if no else each for no, each in zip(bad, found, strict=True)]

    monkeypatch.setattr(RecordPipeline, "inferences", with_error)
    texts = [*(f"text {i}" for i in range(100)), "bad"]
    transform = TextClassification(model("bert-classification"), batch_size=16)
    with beam.Pipeline(RUNNER) as p:
        good, failed = p | beam.Create(texts) | transform.with_exception_handling()
        assert_that(good | beam.Map(lambda result: result.example), equal_to(texts[:-1]))
        rows = failed | beam.Map(lambda row: (row.element, row.stage, row.message))
        assert_that(rows, equal_to([("bad", "postprocess", "no")]), label="failed")


def labels(outputs: Any) -> int:
    return int(outputs["logits"].argmax())


def test_a_function_stands_in_for_the_last_stage(model: Model, run: Run) -> None:
    found = run(CORPUS, TextClassification(model("bert-classification"), postprocess=labels))
    assert {result.inference for result in found} <= {0, 1, 2}

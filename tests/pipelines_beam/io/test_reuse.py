"""Rows of a shard with equal inputs are computed once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from support.counting import counted_inferences
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import QuestionAnswering, TextClassification, TextGeneration
from pipelines_beam.io import process_files, retry_failures

Model = Callable[[str], str]

TOO_LONG = " ".join(CORPUS) * 4
#: Half of them repeat an earlier one.
TEXTS = [CORPUS[i] for i in (0, 1, 2, 1, 3, 0, 4, 2, 3, 4)]


def process(folder: Path, task: Any, rows: dict[str, Any], out: str, **options: Any) -> int:
    """Process rows as one file; returns how many inferences that took."""
    (folder / "in").mkdir(exist_ok=True)
    pq.write_table(pa.table(rows), folder / "in/a.parquet")
    pipeline = PipelineOptions([], runner=RUNNER)
    with counted_inferences() as counted:
        process_files(
            str(folder / "in"), task, str(folder / out), options=pipeline, overwrite=True, **options
        )
    return sum(counted)


def classifier(model: Model, **options: Any) -> TextClassification:
    return TextClassification(
        model("bert-classification"), input="text", share="process", batch_size=1, **options
    )


def test_half_the_rows_take_half_the_inferences(tmp_path: Path, model: Model) -> None:
    rows = {"id": range(10), "text": TEXTS}
    task = classifier(model)
    assert process(tmp_path, task, rows, "out") == 5
    assert process(tmp_path, task, rows, "all", reuse=False) == 10
    assert pq.read_table(tmp_path / "out").equals(pq.read_table(tmp_path / "all"))


def test_failures_are_those_of_all_equal_rows(tmp_path: Path, model: Model) -> None:
    texts = [TOO_LONG, "Yes", None, TOO_LONG, "Yes", None, "No"]
    rows = {"id": range(7), "text": texts}
    task = classifier(model)
    assert process(tmp_path, task, rows, "out") == 2
    process(tmp_path, task, rows, "all", reuse=False)
    for folder in (".", "_failures"):
        tables = [pq.read_table(tmp_path / out / folder) for out in ("out", "all")]
        assert tables[0].equals(tables[1])
    assert tables[0]["row"].to_pylist() == [0, 2, 3, 5]
    assert tables[0]["element"].to_pylist()[2] == {"id": 3, "text": TOO_LONG}


def test_shards_know_nothing_of_each_other(tmp_path: Path, model: Model) -> None:
    rows = {"text": ["Yes"] * 4}
    assert process(tmp_path, classifier(model), rows, "out", rows_per_shard=2) == 2


def test_rows_whose_texts_fail_alone(tmp_path: Path, model: Model) -> None:
    rows = {"text": [None] * 3}
    assert process(tmp_path, classifier(model), rows, "out") == 0
    assert pq.read_table(tmp_path / "out/_failures").num_rows == 3


def test_all_inputs_count(tmp_path: Path, model: Model) -> None:
    columns = {"question": "q", "context": "c"}
    task = QuestionAnswering(model("bert-qa"), input=columns, share="process")
    where, who = "Where is it?", "Who is it?"
    rows = {"q": [where, who, where, where], "c": [CORPUS[5], CORPUS[5], CORPUS[6], CORPUS[5]]}
    assert process(tmp_path, task, rows, "out") == 3
    answers = pq.read_table(tmp_path / "out").to_pylist()
    assert answers[0] == answers[3]


@pytest.mark.parametrize(("samples", "inferences"), [(True, 3), (False, 1)])
def test_answers_that_are_drawn_are_not_copied(
    tmp_path: Path, model: Model, samples: bool, inferences: int
) -> None:
    task = TextGeneration(
        model("llama-lm"), input="text", share="process", max_new_tokens=2, do_sample=samples
    )
    assert process(tmp_path, task, {"text": ["Yes"] * 3}, "out") == inferences


def same(inference: Any) -> str:
    return str(inference)


def test_functions_of_the_user_get_all_rows(tmp_path: Path, model: Model) -> None:
    task = classifier(model, postprocess=same)
    assert process(tmp_path, task, {"text": ["Yes"] * 3}, "out") == 3


def test_a_retry_of_100_failures_among_10000_rows_computes_100(
    tmp_path: Path, model: Model
) -> None:
    texts = [f"{TOO_LONG} {i}" if i % 100 == 7 else CORPUS[i % 24] for i in range(10_000)]
    rows = {"id": range(10_000), "text": texts}
    assert process(tmp_path, classifier(model), rows, "out", rows_per_shard=2500) <= 4 * 24
    task = classifier(model, truncation=True)
    with counted_inferences() as counted:
        done = retry_failures(
            task, str(tmp_path / "out"), options=PipelineOptions([], runner=RUNNER)
        )
    assert (done.failed, done.answered, sum(counted)) == (100, 100, 100)
    assert pq.read_table(tmp_path / "out")["id"].to_pylist() == list(range(10_000))

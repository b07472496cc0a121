"""Answers of earlier jobs over files, taken from a cache."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from support.counting import counted_inferences
from support.pictures import picture
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import ImageClassification, TextClassification, TextGeneration
from pipelines_beam.io import process_files
from pipelines_beam.io.cache import Cache

Model = Callable[[str], str]


@pytest.fixture
def cache() -> str:
    return f"memory://cache-{uuid.uuid4().hex}"


def process(folder: Path, task: Any, rows: dict[str, Any], out: str, **options: Any) -> int:
    """Process rows as one file; returns how many inferences that took."""
    (folder / out / "in").mkdir(parents=True)
    pq.write_table(pa.table(rows), folder / out / "in/a.parquet")
    pipeline = PipelineOptions([], runner=RUNNER)
    with counted_inferences() as counted:
        process_files(
            str(folder / out / "in"), task, str(folder / out / "out"), options=pipeline, **options
        )
    assert not list((folder / out).glob("out/_job/cached/*"))
    return sum(counted)


def results(folder: Path, out: str) -> pa.Table:
    return pq.read_table(folder / out / "out")


def classifier(model: Model, **options: Any) -> TextClassification:
    options = {"input": "text", **options}
    name = model("bert-classification")
    return TextClassification(name, share="process", batch_size=1, **options)


def test_rows_of_earlier_jobs_are_not_computed(tmp_path: Path, model: Model, cache: str) -> None:
    task = classifier(model)
    first = {"text": [*CORPUS[:6], None]}
    assert process(tmp_path, task, first, "a", cache=cache) == 6
    texts = [CORPUS[7], *CORPUS[2:6], None, CORPUS[8], CORPUS[0]]
    second = {"id": range(8), "body": texts}
    other = classifier(model, input="body")
    assert process(tmp_path, other, second, "b", cache=cache) == 2
    assert process(tmp_path, other, second, "c", cache=cache, reuse=False) == 7
    assert results(tmp_path, "b").equals(results(tmp_path, "c"))
    assert pq.read_table(tmp_path / "b/out/_failures")["row"].to_pylist() == [5]
    assert process(tmp_path, other, second, "d", cache=cache, rows_per_shard=3) == 0
    assert results(tmp_path, "d").equals(results(tmp_path, "c"))


def test_another_computation_has_other_answers(tmp_path: Path, model: Model, cache: str) -> None:
    rows = {"text": CORPUS[:3]}
    assert process(tmp_path, classifier(model), rows, "a", cache=cache) == 3
    assert process(tmp_path, classifier(model, top_k=2), rows, "b", cache=cache) == 3
    assert process(tmp_path, classifier(model, max_wait_ms=1), rows, "c", cache=cache) == 0


def test_a_job_that_is_begun_anew_adds_to_what_it_has_left(
    tmp_path: Path, model: Model, cache: str
) -> None:
    """Its shards have the names that they had."""
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"text": CORPUS[:4]}), tmp_path / "in/a.parquet")
    pipeline = PipelineOptions([], runner=RUNNER)
    task = classifier(model)
    counts = []
    for texts in (CORPUS[:4], CORPUS[:4], CORPUS[2:6], CORPUS[:6]):
        pq.write_table(pa.table({"text": texts}), tmp_path / "in/a.parquet")
        with counted_inferences() as counted:
            output = str(tmp_path / "out")
            files = str(tmp_path / "in")
            process_files(files, task, output, options=pipeline, overwrite=True, cache=cache)
        counts.append(sum(counted))
    assert counts == [4, 0, 2, 0]


def test_images_are_compared_by_their_bytes(tmp_path: Path, model: Model, cache: str) -> None:
    files = []
    for name in ("ant", "bee", "ant"):
        file = io.BytesIO()
        picture(name, 40, 30).save(file, "png")
        files.append(file.getvalue())
    task = ImageClassification(model("vit-classification"), input="image", share="process")
    assert process(tmp_path, task, {"image": files[:2]}, "a", cache=cache) == 2
    assert process(tmp_path, task, {"image": files}, "b", cache=cache) == 0
    assert results(tmp_path, "b").num_rows == 3


def test_what_a_cache_cannot_hold_is_refused(tmp_path: Path, model: Model, cache: str) -> None:
    def says(match: str, task: Any, rows: dict[str, Any], **options: Any) -> None:
        name = uuid.uuid4().hex
        with pytest.raises(ValueError, match=match):
            process(tmp_path, task, rows, name, **{"cache": cache, **options})
        assert not (tmp_path / name / "out").exists()

    lm = TextGeneration(model("llama-lm"), input="text", do_sample=True)
    says("cache: equal inputs may have different answers", lm, {"text": ["Yes"]})
    own = classifier(model, postprocess=str)
    says("a function or pipeline class of your own", own, {"text": ["Yes"]})
    images = ImageClassification(model("vit-classification"), input="image")
    says(
        "column 'image' of image must hold the bytes of files, got string", images, {"image": ["x"]}
    )
    says(
        "cache must be the path or URI of a folder, got ''",
        classifier(model),
        {"text": ["x"]},
        cache="",
    )


def test_which_input_a_column_is_decides(model: Model, cache: str) -> None:
    name = model("bert-classification")
    table = pa.table({"a": ["one"], "b": ["two"]})

    def hashes(**inputs: str) -> list[bytes]:
        return Cache(cache, TextClassification(name, input=inputs)).hashes(table)

    found = [
        hashes(text="a", text_pair="b"),
        hashes(text="b", text_pair="a"),
        hashes(text="a", text_pair="a"),
        hashes(text="a"),
    ]
    assert len({each[0] for each in found}) == 4
    assert hashes(text_pair="b", text="a") == found[0]
    assert Cache(cache, TextClassification(name, input="a")).hashes(table) == found[3]


def test_all_columns_of_a_prompt_decide_the_answer(
    tmp_path: Path, model: Model, cache: str
) -> None:
    task = classifier(model, input=None, prompt="{{ title }}: {{ body }}")
    rows = {"title": ["a", "a", "b", "a"], "body": ["x", "y", "x", "x"], "id": range(4)}
    assert process(tmp_path, task, rows, "a", cache=cache) == 3
    assert process(tmp_path, task, {**rows, "body": ["x", "z", "x", "x"]}, "b", cache=cache) == 1
    other = classifier(model, input=None, prompt="{{ title }} - {{ body }}")
    assert process(tmp_path, other, rows, "c", cache=cache) == 3


def test_each_file_is_read_once_for_a_table(
    tmp_path: Path, model: Model, cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However its rows are mixed with those of more files than are held."""
    task = classifier(model)
    for i in range(6):
        process(tmp_path, task, {"text": CORPUS[i:12:6]}, f"in{i}", cache=cache)
    read: list[int] = []
    answers_in = Cache._answers_in

    def counted(self: Cache, file: int) -> pa.Table:
        read.append(file)
        return answers_in(self, file)

    monkeypatch.setattr(Cache, "_answers_in", counted)
    mixed = {"text": [*CORPUS[:12], CORPUS[3]]}
    assert process(tmp_path, task, mixed, "a", cache=cache) == 0
    assert sorted(read) == [*range(6)]
    assert process(tmp_path, task, mixed, "b") == 12
    assert results(tmp_path, "a").equals(results(tmp_path, "b"))

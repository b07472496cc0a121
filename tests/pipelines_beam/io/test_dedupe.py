"""Rows with equal inputs in several shards and files: computed once in a job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from support.counting import counted_inferences
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import ImageClassification, TextClassification, TextGeneration
from pipelines_beam.io import Processed, process_files
from pipelines_beam.io.dedupe import Keys, shared
from pipelines_beam.io.output import Output
from pipelines_beam.io.prepare import OutputExistsError
from pipelines_beam.io.run_record import runs
from transforms.stages import metrics

Model = Callable[[str], str]
#: Each text is in both files.
FILES = {"a": CORPUS[:12], "b": CORPUS[11::-1]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, texts in FILES.items():
        add(tmp_path, name, texts)
    return tmp_path


def add(folder: Path, name: str, texts: Any) -> None:
    (folder / "in").mkdir(exist_ok=True)
    table = pa.table({"id": range(len(texts)), "text": pa.array(texts, pa.string())})
    pq.write_table(table, folder / f"in/{name}.parquet", row_group_size=8)


def classifier(model: Model, **options: Any) -> TextClassification:
    name = model("bert-classification")
    return TextClassification(name, input="text", share="process", batch_size=1, **options)


def process(folder: Path, task: Any, out: str = "out", **options: Any) -> tuple[int, Processed]:
    """Process the files; returns how many inferences that took, too."""
    pipeline = PipelineOptions([], runner=RUNNER)
    options = {"rows_per_shard": 4, "dedupe": "job", **options}
    with counted_inferences() as counted:
        done = process_files(
            str(folder / "in"), task, str(folder / out), options=pipeline, **options
        )
    return sum(counted), done


def results(folder: Path, out: str = "out") -> pa.Table:
    return pq.read_table(folder / out)


def test_half_of_the_rows_are_computed(folder: Path, model: Model) -> None:
    task = classifier(model)
    assert process(folder, task, "plain", dedupe="shard")[0] == 24
    before = (metrics.counts().answered, metrics.counts().failed)
    assert process(folder, task)[0] == 12
    assert (metrics.counts().answered - before[0], metrics.counts().failed) == (24, before[1])
    assert results(folder).equals(results(folder, "plain"))
    (run,) = runs(Output(str(folder / "out")))
    assert (run.rows, run.failed, run.options["dedupe"]) == (24, 0, "job")


def test_rows_that_fail_are_failures_of_each_shard(folder: Path, model: Model) -> None:
    add(folder, "c", [None, "only here", None])
    add(folder, "d", [None, "only there"])
    inferences, done = process(folder, classifier(model))
    assert inferences == 14
    assert results(folder).num_rows == 26
    failed = pq.read_table([folder / f"out/_failures/{Path(x).name}" for x in done.failures])
    assert sorted(failed["row"].to_pylist()) == [0, 0, 2]
    (run,) = runs(Output(str(folder / "out")))
    # Of the rows of a shard that are equal, one is computed.
    assert (run.rows, run.failed, run.counters) == (26, 3, {"failures_data": 2})


def test_a_job_that_is_resumed_has_the_answers(folder: Path, model: Model) -> None:
    task = classifier(model)
    _, done = process(folder, task)
    whole = results(folder)
    for path in done.files[::2]:
        Path(path).unlink()
    assert process(folder, task, resume=True)[0] == 0
    assert results(folder).equals(whole)
    for path in done.files:  # as if it was killed before its first shard
        Path(path).unlink()
    with pytest.raises(OutputExistsError):
        process(folder, task)
    assert process(folder, task, resume=True)[0] == 0
    assert results(folder).equals(whole)
    add(folder, "c", CORPUS[10:14])
    add(folder, "d", CORPUS[12:14])
    assert process(folder, task, resume=True)[0] == 2
    assert results(folder).num_rows == 30


def test_a_cache_has_all_answers(folder: Path, model: Model) -> None:
    task, cache = classifier(model), str(folder / "cache")
    add(folder, "c", CORPUS[12:14])
    assert process(folder, task, cache=cache)[0] == 14
    assert not (folder / "out/_job/shared").exists()
    assert process(folder, task, "again", cache=cache)[0] == 0
    assert results(folder, "again").equals(results(folder))


def test_all_columns_of_a_prompt_are_the_input(tmp_path: Path, model: Model) -> None:
    add(tmp_path, "a", CORPUS[:4])
    add(tmp_path, "b", CORPUS[:4:2])  # the second has another number there
    name = model("bert-classification")
    task = TextClassification(name, prompt="{{ id }}: {{ text }}", share="process")
    inferences, done = process(tmp_path, task, audit=1.0)
    assert inferences == 5
    assert results(tmp_path).num_rows == 6
    assert done.audit is not None
    assert (done.audit.rows, done.audit.flips) == (6, 0)
    kept = pq.read_table(tmp_path / "out/_audit")["input"].to_pylist()
    assert all("id" in each and "text" in each for each in kept)


def test_the_first_shard_computes_what_several_have() -> None:
    def keys(plan: str, shard: int, **rows: str) -> Keys:
        numbers = np.array([int(name[1:]) for name in rows], np.int32)
        return Keys((plan, 0, 9), shard, numbers, np.array([*rows.values()], "S16"))

    part = [
        keys("b", 0, r0="w", r1="x", r2="z"),
        keys("a", 1, r0="x", r4="y", r5="only", r6="twice", r7="twice"),
        keys("a", 0, r3="y", r9="x", r2="x"),
    ]
    found = {(where, number): rows.tolist() for where, (number, rows) in shared((0, part))}
    assert found == {(("a", 0, 9), 0): [3, 9]}
    part.append(keys("c", 5, r0="z", r1="w"))
    found = {(where, number): rows.tolist() for where, (number, rows) in shared((0, part))}
    assert found == {(("a", 0, 9), 0): [3, 9], (("b", 0, 9), 0): [0, 2]}


def test_what_cannot_be_shared_is_refused(folder: Path, model: Model) -> None:
    def says(match: str, task: Any, **options: Any) -> None:
        with pytest.raises(ValueError, match=match):
            process(folder, task, **options)
        assert not (folder / "out").exists()

    says("dedupe must be 'shard' or 'job', got 'all'", classifier(model), dedupe="all")
    says("dedupe='job' reuses answers: not with reuse=False", classifier(model), reuse=False)
    lm = TextGeneration(model("llama-lm"), input="text", do_sample=True)
    says("dedupe: equal inputs may have different answers", lm)
    images = ImageClassification(model("vit-classification"), input="text")
    says("dedupe: the column 'text' of image must hold the bytes of files", images)

"""Failed rows of jobs over files, computed again: those alone, into the same output."""

from __future__ import annotations

import contextlib
import csv
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from support.counting import counted_inferences
from support.pictures import picture
from support.runs import RUNNER
from support.texts import CORPUS

from pipelines_beam import ImageClassification, TextClassification
from pipelines_beam.io import JobChangedError, NoJobError, Retried, process_files, retry_failures
from pipelines_beam.io.failed_rows import failed_rows
from pipelines_beam.io.files import InputFile
from pipelines_beam.io.formats import ROW
from pipelines_beam.io.output import Output, as_parquet
from pipelines_beam.io.plan import Shard
from pipelines_beam.io.retry import MergeAnswers, ReadFailed, UpdateFailures
from pipelines_beam.io.stages import as_failures, failure_schema, with_shard

Model = Callable[[str], str]
_processes = multiprocessing.get_context("forkserver")

#: Two of them are longer than the model.
TEXTS = [" ".join(CORPUS) * 4 if i in (3, 9) else CORPUS[i] for i in range(14)]


@pytest.fixture
def inferences() -> Iterator[list[int]]:
    with counted_inferences() as counted:
        yield counted


def classifier(model: Model, **options: Any) -> TextClassification:
    return TextClassification(
        model("bert-classification"), input="text", batch_size=1, share="process", **options
    )


def beam_options() -> PipelineOptions:
    return PipelineOptions([], runner=RUNNER)


def process(folder: Path, task: Any, out: str = "out", **options: Any) -> None:
    options = {"rows_per_shard": 5, **options}
    process_files(str(folder / "in"), task, str(folder / out), options=beam_options(), **options)


def retry(folder: Path, task: Any) -> Retried:
    return retry_failures(task, str(folder / "out"), options=beam_options())


def retry_and_die(folder: Path, config: dict[str, Any]) -> None:
    """Retry, and be killed once a file of failure rows is removed: its rows are answered."""
    remove = Output.remove

    def remove_and_die(self: Output, name: str) -> None:
        remove(self, name)
        if name.startswith("_failures/"):
            os.kill(os.getpid(), signal.SIGKILL)

    Output.remove = remove_and_die  # type: ignore[method-assign]
    retry(folder, TextClassification(**config))


def parquet(folder: Path) -> None:
    rows = [{"id": i, "text": text} for i, text in enumerate(TEXTS)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "in/a.parquet", row_group_size=4)


def jsonl(folder: Path) -> None:
    lines = [json.dumps({"id": i, "text": text}) + "\n" for i, text in enumerate(TEXTS)]
    (folder / "in/a.jsonl").write_text("".join(lines))


def csv_file(folder: Path) -> None:
    with (folder / "in/a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *enumerate(TEXTS)])


def text(folder: Path) -> None:
    (folder / "in/a.txt").write_text("".join(f"{json.dumps(each)}\n" for each in TEXTS))


def results(folder: Path, out: str = "out") -> list[dict[str, Any]]:
    paths = sorted((folder / out).glob("part-*"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def failed(folder: Path) -> list[tuple[int, str]]:
    paths = sorted((folder / "out/_failures").glob("part-*"))
    tables = [pq.read_table(path).to_pylist() for path in paths]
    return [(row["row"], row["error"]) for table in tables for row in table]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path


@pytest.mark.parametrize("write", [parquet, jsonl, csv_file, text])
def test_failed_rows_take_their_place_among_the_results(
    folder: Path, model: Model, write: Callable[[Path], None], inferences: list[int]
) -> None:
    write(folder)
    process(folder, classifier(model))
    assert len(results(folder)) == 12
    process(folder, classifier(model, truncation=True), out="whole")
    del inferences[:]
    done = retry(folder, classifier(model, truncation=True))
    assert (done.failed, done.answered, done.failures) == (2, 2, [])
    assert done.changed == {"truncation": "not given → true"}
    assert sum(inferences) == 2
    assert results(folder) == results(folder, "whole")
    assert not failed(folder)


def test_rows_that_fail_again_stay_failure_rows(folder: Path, model: Model) -> None:
    rows = [{"id": i, "text": None if i == 4 else text} for i, text in enumerate(TEXTS)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "in/a.parquet")
    process(folder, classifier(model))
    before = {path: path.read_bytes() for path in folder.glob("out/part-*")}
    assert failed(folder) == [(3, "TooLongError"), (4, "TypeError"), (9, "TooLongError")]
    same = retry(folder, classifier(model, device="cpu"))
    assert (same.failed, same.answered, len(same.failures)) == (3, 0, 2)
    assert same.changed == {}
    assert {path: path.read_bytes() for path in folder.glob("out/part-*")} == before
    done = retry(folder, classifier(model, truncation=True))
    assert (done.failed, done.answered) == (3, 2)
    assert failed(folder) == [(4, "TypeError")]
    assert [row["id"] for row in results(folder)] == [i for i in range(14) if i != 4]
    records = [json.loads(p.read_text()) for p in sorted(folder.glob("out/_job/retry-*.json"))]
    assert [(each["failed"], each["answered"]) for each in records] == [(3, 0), (3, 2)]


def test_nothing_failed(folder: Path, model: Model) -> None:
    parquet(folder)
    task = classifier(model, truncation=True)
    process(folder, task)
    assert retry(folder, task) == Retried(0, 0, [], {})


def test_media_are_fetched_again(folder: Path, model: Model) -> None:
    for name in ("ant", "bee", "cat", "dog"):
        picture(name, 40, 30).save(folder / f"in/{name}.png")
    whole = (folder / "in/bee.png").read_bytes()
    (folder / "in/bee.png").write_bytes(b"no image")
    task = ImageClassification(model("vit-classification"), input="path", top_k=1)
    process(folder, task, rows_per_shard=3)
    (folder / "in/bee.png").write_bytes(whole)
    assert retry(folder, task).answered == 1
    assert [row["name"] for row in results(folder)] == ["ant.png", "bee.png", "cat.png", "dog.png"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "vit-classification"}, "model: "),
        ({"output": "scored"}, 'output: not given → "scored"'),
        ({"top_k": 2}, "has the columns .*, and results would have .*predictions"),
    ],
)
def test_another_model_or_other_columns_are_refused(
    folder: Path, model: Model, options: dict[str, Any], said: str
) -> None:
    parquet(folder)
    process(folder, classifier(model))
    options = {"input": "text", "truncation": True, **options}
    task = TextClassification(model(options.pop("model", "bert-classification")), **options)
    with pytest.raises(JobChangedError, match=said):
        retry(folder, task)


def test_another_prompt_is_refused(folder: Path, model: Model) -> None:
    parquet(folder)
    name = model("bert-classification")
    process(folder, TextClassification(name, prompt="{{ text }}", truncation=True))
    task = TextClassification(name, prompt="{{ text }}!", truncation=True)
    with pytest.raises(JobChangedError, match=r'prompt: "{{ text }}" → "{{ text }}!"'):
        retry(folder, task)


def test_an_output_that_no_job_has_begun(folder: Path, model: Model) -> None:
    with pytest.raises(NoJobError, match="out: no job over files has begun it"):
        retry(folder, classifier(model))


class Killed(BaseException):
    """The end of a process, for those that share this one."""


@pytest.mark.parametrize(("count", "resumes"), [(3, True), (4, False)])
def test_a_retry_that_is_killed_is_started_again(
    folder: Path, model: Model, monkeypatch: pytest.MonkeyPatch, count: int, resumes: bool
) -> None:
    """After the results of the first shard are written, and after its failure rows are, too."""
    rows = [{"id": i, "text": None if i == 4 else text} for i, text in enumerate(TEXTS)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "in/a.parquet")
    process(folder, classifier(model))
    task = classifier(model, truncation=True)
    with monkeypatch.context() as patched:
        dying(patched, count)
        with pytest.raises((Killed, RuntimeError), match="killed"):
            retry(folder, task)
    if resumes:  # no row is there twice any more
        process(folder, classifier(model), resume=True)
        both = [row["id"] for row in results(folder)] + [row for row, _ in failed(folder)]
        assert sorted(both) == list(range(14))
    assert retry(folder, task).answered == 1
    assert [row["id"] for row in results(folder)] == [i for i in range(14) if i != 4]
    assert failed(folder) == [(4, "TypeError")]


@pytest.mark.slow
def test_a_retry_that_is_killed_in_the_middle(folder: Path, model: Model) -> None:
    """Twice, with kill -9, once rows of a shard are answered."""
    rows = [{"id": i, "text": TEXTS[3 * (i % 3 == 1)]} for i in range(120)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "in/a.parquet")
    process(folder, classifier(model), rows_per_shard=3, reuse=False)
    task = classifier(model, truncation=True)
    process(folder, task, out="whole", rows_per_shard=3, reuse=False)
    assert len(failed(folder)) == 40
    for _ in range(2):
        child = _processes.Process(target=retry_and_die, args=(folder, task.config))
        child.start()
        child.join(300)
        assert child.exitcode == -signal.SIGKILL
    left = len(failed(folder))
    assert 0 < left < 39
    assert retry(folder, task).answered == left
    assert results(folder) == results(folder, "whole")
    assert not failed(folder)


def dying(patched: pytest.MonkeyPatch, count: int) -> None:
    """Nothing is written or removed after so many changes, as if the process were killed."""
    seen = 0

    def limited(change: Any) -> Any:
        def change_or_die(*args: Any) -> None:
            nonlocal seen
            if seen == count:
                raise Killed("killed")
            seen += 1
            change(*args)

        return change_or_die

    patched.setattr(Output, "_move_in", limited(Output._move_in))
    patched.setattr(Output, "remove", limited(Output.remove))


FIRST, LAST = 10, 20
ELEMENT = pa.struct([("id", pa.int64()), (ROW, pa.int64())])


def shard(output: Output, failed: set[int]) -> None:
    """A shard of which some rows have failed."""
    rows = pa.table({"id": [i for i in range(FIRST, LAST) if i not in failed]})
    output.write(NAME, as_parquet(rows))
    output.write(f"_failures/{NAME}", as_parquet(as_failures(failures(failed), "f", KEPT)))


def failures(rows: set[int], error: str = "first") -> pa.Table:
    element = [{"id": row, ROW: row} for row in sorted(rows)]
    table = pa.table(
        {"element": pa.array(element, ELEMENT), "error": pa.array([error] * len(rows), pa.string())}
    )
    about = with_shard(table.schema, name=NAME, first=FIRST, file="f")
    return table.replace_schema_metadata(about.metadata)


NAME = "part-000-aaaaaaaaaaaa-0000000.parquet"
KEPT = failure_schema(failures(set()).schema.remove_metadata())


def state(output: Output) -> tuple[list[int], dict[int, str]]:
    """The rows that are answered; and those that have failed, with their errors."""
    failed = failed_rows(output, NAME)
    rows = [] if failed is None else failed.to_pylist()
    answered = pq.read_table(output.path(NAME))["id"].to_pylist()
    return answered, {row["row"]: row["error"] for row in rows}


def compute(output: Output) -> None:
    """What a retry does with a shard where row 15 fails again."""
    (shard,) = [Shard(NAME, (InputFile("f", 1, ""),), (FIRST, LAST), LAST - FIRST, 0)]
    for table in ReadFailed(output, True).process(shard):
        rows = set(table[ROW].to_pylist())
        if 15 in rows:
            list(UpdateFailures(output, KEPT).process(failures({15}, "again")))
        answered = table.filter(pc.not_equal(table[ROW], 15))
        list(MergeAnswers(output).process(answered))


@pytest.mark.parametrize("count", range(5))
def test_no_row_is_lost_or_doubled_whenever_a_retry_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    output = Output(str(tmp_path))
    shard(output, {12, 15, 19})
    with monkeypatch.context() as patched:
        dying(patched, count)
        with contextlib.suppress(Killed):
            compute(output)
    answered, failed = state(output)
    assert sorted([*answered, *failed]) == list(range(FIRST, LAST))
    assert len(answered) == (7 if count < 2 else 9)
    compute(output)
    assert state(output) == ([i for i in range(FIRST, LAST) if i != 15], {15: "again"})
    assert pq.read_table(tmp_path / "_failures").num_rows == 1


def test_the_file_of_failure_rows_goes_with_the_last_of_them(tmp_path: Path) -> None:
    output = Output(str(tmp_path))
    shard(output, {10, 19})
    compute(output)
    assert state(output) == (list(range(FIRST, LAST)), {})
    assert not list((tmp_path / "_failures").iterdir())

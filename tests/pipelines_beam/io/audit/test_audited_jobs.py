"""Jobs over files of which some rows are computed once more."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from apache_beam.options.pipeline_options import PipelineOptions
from support.counting import counted_inferences
from support.pictures import picture
from support.runs import RUNNER
from support.texts import CORPUS
from transformers import AutoModelForSequenceClassification

from pipelines_beam import ImageClassification, TextClassification, TextGeneration, cli
from pipelines_beam.commands import statuses
from pipelines_beam.io import process_files
from pipelines_beam.io.audit.options import AuditOptions
from pipelines_beam.io.audit.results import AuditResult, audit_result, worst
from pipelines_beam.io.audit.rows import _compared, audited_rows
from pipelines_beam.io.output import Output
from pipelines_beam.io.run_record import runs

Model = Callable[[str], str]
TEXTS = CORPUS[:12]


def process(folder: Path, task: Any, texts: Any = TEXTS, **options: Any) -> AuditResult:
    if not (folder / "in").exists():
        (folder / "in").mkdir()
        pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), folder / "in/a.parquet")
    pipeline = PipelineOptions([], runner=RUNNER)
    options = {"rows_per_shard": 5, **options}
    process_files(str(folder / "in"), task, str(folder / "out"), options=pipeline, **options)
    return audit_result(Output(str(folder / "out")))


def classifier(model: str, **options: Any) -> TextClassification:
    return TextClassification(model, input="text", share="process", **options)


@pytest.fixture
def undecided(model: Model, tmp_path: Path) -> str:
    """A model whose scores are so close that bfloat16 does not tell its labels apart."""
    source = model("bert-classification")
    copy = tmp_path / "undecided"
    found = AutoModelForSequenceClassification.from_pretrained(source)
    with torch.no_grad():
        found.classifier.weight.mul_(1e-5)
        found.classifier.bias.fill_(1.0)
    found.save_pretrained(copy)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).write_bytes((Path(source) / name).read_bytes())
    return str(copy)


def test_a_job_in_float32_has_no_other_answers(tmp_path: Path, model: Model) -> None:
    found = process(tmp_path, classifier(model("bert-classification")), [*TEXTS, None], audit=1.0)
    assert (found.rows, found.errors, found.flips) == (12, 0, 0)
    assert found.largest < 1e-5
    assert not found.excesses(AuditOptions(share=1.0))
    kept = pq.read_table(tmp_path / "out/_audit").sort_by("row")
    assert kept["row"].to_pylist() == [*range(12)]
    assert kept["input"].to_pylist() == TEXTS
    assert set(kept["file"].to_pylist()) == {str(tmp_path / "in/a.parquet")}
    assert json.loads(kept["answer"][0].as_py()).keys() == {"label", "score"}


def test_labels_that_flip_in_bfloat16_are_found(
    tmp_path: Path, undecided: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = process(tmp_path, classifier(undecided, dtype="bfloat16"), audit=1.0)
    assert "of the audited rows have another answer in float32" in caplog.text
    kept = pq.read_table(tmp_path / "out/_audit").to_pylist()
    labels = [[json.loads(row[name])["label"] for name in ("answer", "reference")] for row in kept]
    assert found.flips == sum(one != other for one, other in labels) > 0
    (said,) = found.excesses(AuditOptions(share=1.0))
    assert "of the audited rows have another answer in float32, and max_flips is 1.00%" in said
    assert [row["flips"] for row in worst(Output(str(tmp_path / "out")))][: found.flips] == [
        True
    ] * found.flips


def test_the_command_warns_of_them(
    tmp_path: Path, undecided: str, capsys: pytest.CaptureFixture[str]
) -> None:
    process(tmp_path, classifier(undecided, dtype="bfloat16"), audit=1.0)
    options = {"model": undecided, "dtype": "bfloat16", "input": "text", "share": "process"}
    task = {"type": "TextClassification", "config": options}
    config = {"files": str(tmp_path / "in"), "output": str(tmp_path / "out"), "task": task}
    step = {"type": "ProcessFiles", "config": {**config, "audit": {"share": 0.5}}}
    (tmp_path / "job.yaml").write_text(json.dumps({"pipeline": {"transforms": [step]}}))
    command = ["run", str(tmp_path / "job.yaml"), "--resume", "--audit=1"]
    assert cli.main(command) == statuses.DONE
    assert "warning: " in (said := capsys.readouterr().err)
    assert f"and max_flips is 1.00%: see {tmp_path}/out/_audit" in said
    assert cli.main([*command, "--json"]) == statuses.DONE
    (job,) = json.loads(capsys.readouterr().out.splitlines()[-1])["jobs"]
    assert len(job["audit"]["warnings"]) == 1


def test_audited_rows_are_no_work_of_the_job(tmp_path: Path, model: Model) -> None:
    task = classifier(model("bert-classification"), batch_size=1)
    with counted_inferences() as counted:
        process(tmp_path, task, audit=1.0)
    assert sum(counted) == 12
    plain = pq.read_table(tmp_path / "out")
    process(tmp_path, task, overwrite=True)
    assert plain.equals(pq.read_table(tmp_path / "out"))
    assert not (tmp_path / "out/_audit").exists()


def test_media_are_counted_by_the_job_alone(tmp_path: Path, model: Model) -> None:
    (tmp_path / "in").mkdir()
    for name in ("ant", "bee"):
        image = picture(name, 40, 30)
        image.putalpha(100)
        image.save(tmp_path / f"in/{name}.png")
    task = ImageClassification(model("vit-classification"), input="path", share="process")
    found = process(tmp_path, task, audit=1.0)
    assert (found.rows, found.flips) == (2, 0)
    (run,) = runs(Output(str(tmp_path / "out")))
    assert run.counters == {"suspect_images_transparent": 2}
    assert run.stages["audit"] > 0


def test_a_resumed_job_audits_the_same_rows(tmp_path: Path, model: Model) -> None:
    task = classifier(model("bert-classification"), batch_size=1)
    process(tmp_path, task, audit=0.5)
    whole = pq.read_table(tmp_path / "out/_audit").sort_by("row")
    assert 0 < len(whole) < 12
    shard = sorted((tmp_path / "out").glob("part-*"))[1]
    shard.unlink()
    (tmp_path / "out/_audit" / shard.name).unlink(missing_ok=True)
    process(tmp_path, task, audit=0.5, resume=True)
    assert pq.read_table(tmp_path / "out/_audit").sort_by("row").equals(whole)


def test_the_content_chooses_the_rows() -> None:
    table = pa.table({"text": [str(i % 500) for i in range(1000)], "id": range(1000)})
    chosen = audited_rows(table, ["text"], 0.2)
    assert 60 < len(chosen) < 140  # of 500 that differ
    assert max(chosen) < 500
    turned = table.take(pa.array(range(999, -1, -1)))
    texts = [{table["text"][i].as_py() for i in chosen}]
    texts += [{turned["text"][i].as_py() for i in audited_rows(turned, ["text"], 0.2)}]
    assert texts[0] == texts[1]
    assert audited_rows(table, ["text"], 1.0) == [*range(500)]


def test_the_hash_of_all_columns_chooses_the_rows() -> None:
    texts = [str(i) for i in range(1000)]
    same = pa.table({"text": texts, "pair": texts})
    assert 140 < len(audited_rows(same, ["text", "pair"], 0.2)) < 260
    encoded = pa.table({"text": pa.array(texts[500:]).dictionary_encode()})
    assert audited_rows(encoded, ["text"], 0.2) == audited_rows(same[500:], ["text"], 0.2)


def test_long_answers_show_where_they_differ() -> None:
    one, other = ({"text": [{"text": "a" * 5000 + end}], "n": 1} for end in ("bc", "d"))
    found = _compared(one, other)
    start = "…" + "a" * 100
    assert json.loads(found["answer"]) == {"text": [{"text": f"{start}bc"}], "n": 1}
    assert json.loads(found["reference"]) == {"text": [{"text": f"{start}d"}], "n": 1}
    short = _compared({"text": "a" * 150 + "b"}, {"text": "a" * 150})
    assert json.loads(short["reference"]) == {"text": "a" * 150}


def test_a_row_that_the_reference_cannot_answer_is_counted(
    tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines_beam.io.audit.reference import ReferenceFn

    answers = ReferenceFn.answers

    def without_last(self: Any, table: pa.Table) -> Any:
        texts = [*table["text"].to_pylist()[:-1], None]
        table = table.set_column(0, "text", pa.array(texts, pa.string()))
        return answers(self, table)

    monkeypatch.setattr(ReferenceFn, "answers", without_last)
    found = process(tmp_path, classifier(model("bert-classification")), audit=1.0)
    assert (found.rows, found.errors) == (9, 3)
    assert "audited 9 rows in float32, 3 failed there" in str(found)
    (said,) = found.excesses(AuditOptions(share=1.0))
    assert said.startswith("3 of 12 audited rows have no answer in float32")
    assert not found.excesses(AuditOptions(share=1.0, max_flips=0.25))
    none = replace(found, rows=0)
    assert str(none) == "audited no row: all 3 failed in float32"
    errors = [each for each in pq.read_table(tmp_path / "out/_audit")["error"].to_pylist() if each]
    assert errors[0].startswith("TypeError: column 'text'")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (0, "share must be a number above 0 and at most 1, got 0"),
        (1.5, "share must be a number above 0 and at most 1, got 1.5"),
        (True, "share must be a number"),
        ("1%", "share must be a number above 0 and at most 1, got '1%'"),
        ({"max_flips": 0.1}, "share, the part of the rows, is missing"),
        ({"share": 0.1, "max_flip": 0.1}, "'max_flip'.*max_flips"),
        ({"share": 0.1, "max_flips": -1}, "max_flips must be a number from 0 to 1, got -1"),
    ],
)
def test_options_that_do_not_exist_are_refused(
    tmp_path: Path, model: Model, given: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=f"audit: .*{said}"):
        process(tmp_path, classifier(model("bert-classification")), audit=given)


def test_a_wrong_device_is_refused_before_an_output_is_replaced(
    tmp_path: Path, model: Model
) -> None:
    task = classifier(model("bert-classification"))
    process(tmp_path, task)
    audit = {"share": 1.0, "device": "gpu"}
    with pytest.raises(ValueError, match=r"device must be None .* got 'gpu'"):
        process(tmp_path, task, audit=audit, overwrite=True)
    assert len(pq.read_table(tmp_path / "out")) == len(TEXTS)


def test_answers_that_are_drawn_are_not_audited(tmp_path: Path, model: Model) -> None:
    task = TextGeneration(model("llama-lm"), input="text", do_sample=True)
    with pytest.raises(ValueError, match="audit: equal inputs may have different answers"):
        process(tmp_path, task, audit=0.1)
    assert not (tmp_path / "out").exists()

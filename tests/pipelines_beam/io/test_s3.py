"""Jobs over files on S3: input, output, model, what is done before, and who may do it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import s3
from support.counting import counted_inferences
from support.texts import CORPUS

from pipelines_beam import cli
from pipelines_beam.commands import statuses

Model = Callable[[str], str]

ROWS = 12


@pytest.fixture(scope="module")
def server() -> Iterator[s3.S3]:
    with s3.serving() as found:
        yield found


@pytest.fixture
def bucket(
    server: s3.S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Model
) -> Iterator[str]:
    """The URI of a bucket with input and a model, for its owner, whose credentials are set."""
    monkeypatch.setenv("PIPELINES_BEAM_CACHE", str(tmp_path / "cache"))
    server.log_in(monkeypatch, server.owner)
    system = fsspec.filesystem("s3")
    system.mkdir("the-bucket")
    system.put(model("bert-classification"), "the-bucket/model", recursive=True)
    put_rows("s3://the-bucket/in/a.parquet", 0)
    yield "s3://the-bucket"
    server.log_in(monkeypatch, server.owner)
    fsspec.filesystem("s3").rm("the-bucket", recursive=True)


def put_rows(uri: str, start: int) -> None:
    with fsspec.open(uri, "wb") as file:
        texts = {"id": range(start, start + ROWS), "text": CORPUS[start : start + ROWS]}
        pq.write_table(pa.table(texts), file)


def make_job(folder: Path, model: str, files: str, output: str) -> str:
    options = {"model": model, "input": "text", "truncation": True, "batch_size": 1}
    config = {
        "files": files,
        "output": output,
        "rows_per_shard": 4,
        "task": {"type": "TextClassification", "config": options},
    }
    steps = [{"type": "ProcessFiles", "config": config}]
    (folder / "job.yaml").write_text(json.dumps({"pipeline": {"transforms": steps}}))
    return str(folder / "job.yaml")


def results(folder: str) -> list[dict[str, Any]]:
    """The rows of the results."""
    files = sorted(fsspec.open_files(f"{folder}/part-*.parquet"), key=lambda file: file.path)
    found = []
    for each in files:
        with each as file:
            found += pq.read_table(file).to_pylist()
    return found


def test_a_job_from_s3_to_s3_is_resumed(bucket: str, tmp_path: Path, model: Model) -> None:
    file = make_job(tmp_path, f"{bucket}/model", f"{bucket}/in/*.parquet", f"{bucket}/out")
    assert cli.main(["run", file]) == statuses.DONE
    first = results(f"{bucket}/out")
    assert [row["text"] for row in first] == CORPUS[:ROWS]

    local = tmp_path / "local"
    names = {"model": model("bert-classification"), "files": f"{bucket}/in/*.parquet"}
    assert cli.main(["run", make_job(tmp_path, **names, output=str(local))]) == statuses.DONE
    of_models = [{**row, "model_id": None} for row in first]
    assert of_models == [{**row, "model_id": None} for row in results(str(local))]

    system = fsspec.filesystem("s3")
    system.rm_file(sorted(system.glob(f"{bucket}/out/part-*"))[1])
    put_rows(f"{bucket}/in/b.parquet", ROWS)
    file = make_job(tmp_path, f"{bucket}/model", f"{bucket}/in/*.parquet", f"{bucket}/out")
    with counted_inferences() as counted:
        assert cli.main(["run", file, "--resume"]) == statuses.DONE
    assert sum(counted) == 4 + ROWS
    again = results(f"{bucket}/out")
    assert again[:ROWS] == first
    assert [row["id"] for row in again] == list(range(2 * ROWS))


#: Credentials that are wrong in some way, and what is said of them.
WRONG = {
    "secret": "The request signature we calculated does not match the signature you provided",
    "id": "The AWS Access Key Id you provided does not exist in our records",
    "none": "Unable to locate credentials",
}


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("what", ["files", "output", "model"])
def test_wrong_credentials_are_named_before_anything_is_loaded(
    kind: str,
    what: str,
    bucket: str,
    server: s3.S3,
    tmp_path: Path,
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Callable[..., str],
) -> None:
    put_rows(f"file://{tmp_path}/in.parquet", 0)
    given = {"files": f"{tmp_path}/in.parquet", "output": f"{tmp_path}/out"}
    given["model"] = model("bert-classification")
    uris = {"files": f"{bucket}/in/*.parquet", "output": f"{bucket}/out"}
    given[what] = {**uris, "model": f"{bucket}/model"}[what]
    keys = {"secret": (server.owner[0], "wrong"), "id": ("AKIAUNKNOWN", "wrong"), "none": None}
    server.log_in(monkeypatch, keys[kind])
    said = refusal("run", make_job(tmp_path, **given))
    assert given[what] in said
    assert WRONG[kind] in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "cache").exists()


def test_an_output_that_may_only_be_read(
    bucket: str,
    server: s3.S3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Callable[..., str],
) -> None:
    server.log_in(monkeypatch, server.reader)
    said = refusal(
        "run", make_job(tmp_path, f"{bucket}/model", f"{bucket}/in/*.parquet", f"{bucket}/out")
    )
    assert f"output: cannot write to {bucket}/out" in said
    assert "Access Denied" in said

"""Outputs that cannot be written to for a while: a full disk, a store that fails now and then."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from support.runs import RUNNER
from support.stores import FlakyFileSystem
from support.texts import CORPUS

from pipelines_beam import TextClassification, cli
from pipelines_beam.commands import statuses
from pipelines_beam.io import process_files

Model = Callable[[str], str]

#: Every eleventh has no text, and fails.
TEXTS = [None if i % 11 == 3 else text for i, text in enumerate(CORPUS * 2)]


def make_job(folder: Path, model: str, output: str) -> str:
    """The file of a job with a shard for each row."""
    pq.write_table(pa.table({"text": TEXTS}), folder / "in.parquet")
    options = {"model": model, "input": "text", "truncation": True}
    config = {
        "files": str(folder / "in.parquet"),
        "output": output,
        "rows_per_shard": 1,
        "task": {"type": "TextClassification", "config": options},
    }
    steps = [{"type": "ProcessFiles", "config": config}]
    (folder / "job.yaml").write_text(json.dumps({"pipeline": {"transforms": steps}}))
    return str(folder / "job.yaml")


def results(folder: Path) -> list[Any]:
    """The rows of the results; all of the files are whole."""
    return [
        row for path in sorted(folder.glob("part-*")) for row in pq.read_table(path).to_pylist()
    ]


@contextlib.contextmanager
def disk(folder: Path, size: str) -> Iterator[None]:
    """A small disk at a folder; the test is skipped where none may be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no command to mount a disk")
    if done.returncode:
        pytest.skip(f"no disk may be mounted: {done.stderr.decode()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def grow(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def test_a_full_disk(tmp_path: Path, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "disk/out"
    file = make_job(tmp_path, model("bert-classification"), str(out))
    with disk(tmp_path / "disk", "200k"):
        assert cli.main(["run", file]) == statuses.FAILED
        said = capsys.readouterr().err.splitlines()
        (reason,) = [line for line in said if "the disk is full" in line]
        assert f"cannot write to {out}: part-000-" in reason
        assert f"that is mounted at {tmp_path}/disk. " in reason
        assert said[-1].endswith(f"go on with pipelines-beam run {file} --resume")
        assert 0 < len(results(out)) < len(TEXTS)
        assert not list((out / "_job/temporary").iterdir())

        assert cli.main(["run", file, "--resume"]) != statuses.DONE
        grow(tmp_path / "disk", "2m")
        assert cli.main(["run", file, "--resume"]) == statuses.ROWS_FAILED
        assert [row["text"] for row in results(out)] == [text for text in TEXTS if text]
        assert pq.read_table(out / "_failures").num_rows == TEXTS.count(None)


def test_a_disk_that_is_full_before_the_job_begins(
    tmp_path: Path, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    file = make_job(tmp_path, model("bert-classification"), str(tmp_path / "disk/out"))
    with disk(tmp_path / "disk", "64k"):
        (tmp_path / "disk/film").write_bytes(bytes(60 * 1024))
        assert cli.main(["run", file]) == statuses.REFUSED
    assert f"the disk is full that is mounted at {tmp_path}/disk" in capsys.readouterr().err


def test_a_store_whose_renames_fail_once(tmp_path: Path, model: Model) -> None:
    name = model("bert-classification")
    FlakyFileSystem.failed.clear()
    make_job(tmp_path, name, "")
    for output in ("whole", f"flaky://{tmp_path}/out"):
        process_files(
            str(tmp_path / "in.parquet"),
            TextClassification(name, input="text", truncation=True, batch_size=1),
            output if "://" in output else str(tmp_path / output),
            options=PipelineOptions([], runner=RUNNER),
            rows_per_shard=6,
        )
    failed = {Path(each).name for each in FlakyFileSystem.failed}
    written = {path.name for path in (tmp_path / "out").rglob("*.parquet")}
    assert len(written) > 10
    assert written <= failed, "each was renamed twice"
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert not list((tmp_path / "out/_job/temporary").iterdir())

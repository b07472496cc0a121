"""`pipelines-beam run` while a job runs, and when it ends early."""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines_beam import cli
from pipelines_beam.commands import run, statuses
from pipelines_beam.io import failure_limit

Model = Callable[[str], str]
WORKERS = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    texts = ["good" if i % 2 else None for i in range(300)]
    pq.write_table(pa.table({"id": range(300), "text": texts}), tmp_path / "in.parquet")
    return tmp_path


def of_files(folder: Path, model: str, **config: Any) -> str:
    """The file of a job over files."""
    task = {"type": "TextClassification", "config": {"model": model, "input": "text"}}
    files, output = str(folder / "in.parquet"), str(folder / "out")
    config = {"files": files, "output": output, "rows_per_shard": 50, "task": task, **config}
    steps = [{"type": "ProcessFiles", "config": config}]
    (folder / "job.yaml").write_text(json.dumps({"pipeline": {"transforms": steps}}))
    return str(folder / "job.yaml")


def events(said: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.splitlines()]


def test_programs_read_progress_and_summary(
    folder: Path, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    file = of_files(folder, model("bert-classification"))
    assert cli.main(["run", file, "--json"]) == statuses.ROWS_FAILED
    *progress, summary = events(capsys.readouterr().out)
    assert {each["event"] for each in progress} == {"progress"}
    last = progress[-1]
    assert (last["rows_done"], last["rows_total"], last["percent"]) == (300, 300, 100.0)
    assert last["rows_failed"] == 150
    assert (summary["event"], summary["rows"], summary["failed"]) == ("summary", 300, 150)
    (job,) = summary["jobs"]
    assert (job["files"], job["files_written"], job["failures"]["rows"]) == (6, 6, 150)
    assert job["failures"]["reasons"][0]["rows"] == 150
    assert job["failed_rows"] == f"{folder}/out/_failures"


def test_a_job_of_two_models_is_counted_by_model(
    folder: Path, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"input": "text", "error_handling": {"output": "failed"}}
    read = {"type": "ReadFromParquet", "config": {"path": str(folder / "in.parquet")}}
    steps = [read]
    # Steps with the same model share an engine, which reports to either of them.
    for label, name in (("One", "bert-classification"), ("Two", "roberta-classification")):
        step = {"type": "TextClassification", "name": label, "input": "ReadFromParquet"}
        steps += [{**step, "config": {**config, "model": model(name)}}]
        sink = {"type": "WriteToJson", "name": f"Bad{label}", "input": f"{label}.failed"}
        steps += [{**sink, "config": {"path": str(folder / f"bad{label}")}}]
    (folder / "job.yaml").write_text(json.dumps({"pipeline": {"transforms": steps}}))
    job = str(folder / "job.yaml")
    assert cli.main(["run", job, "--json"]) == statuses.ROWS_FAILED
    *progress, summary = events(capsys.readouterr().out)
    assert progress[-1]["rows_total"] == progress[-1]["rows_done"] == 600
    assert summary["answers"] == 600
    assert summary["inferences"] == {"One": 150, "Two": 150}
    assert {name: each["rows"] for name, each in summary["failures"].items()} == {
        "One": 150,
        "Two": 150,
    }


def test_a_job_that_goes_wrong_is_stopped(
    folder: Path,
    model: Model,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(failure_limit, "_SHORT", math.inf)  # it looks each time, however long
    file = of_files(folder, model("bert-classification"))
    assert cli.main(["run", file, "--max-failures=10%"]) == statuses.FAILED
    said = capsys.readouterr().err.splitlines()
    (reason,) = [line for line in said if "too many rows failed" in line]
    assert reason.startswith(f"{file}: too many rows failed: 50 of 100 that are done, and max_fai")
    assert "50 x TypeError: column 'text'" in reason
    assert said[-1].endswith(
        f"of {folder}/out are there: go on with pipelines-beam run {file} --max-failures=10% "
        "--resume"
    )
    assert "a resumed job stops again unless more rows may fail" in said
    assert "Traceback" not in "".join(said)


#: Each option of the command that a job is run with, and what it is given as.
OPTIONS = {
    "set": "--set=name=a value",
    "on": "--on=flink",
    "beam_option": "--beam-option=job=x",
    "limit": "--limit=7",
    "max_failures": "--max-failures=1%",
    "no_reuse": "--no-reuse",
    "audit": "--audit=0.5",
    "json": "--json",
    "verbose": "--verbose",
    "traceback": "--traceback",
}


def test_the_command_that_resumes_has_all_options() -> None:
    parser = run.add(argparse.ArgumentParser().add_subparsers())
    of_nothing = {"help", "help_beam", "dry_run", "existing"}  # with those, no job is run
    assert {action.dest for action in parser._actions} == OPTIONS.keys() | of_nothing
    options = parser.parse_args([*OPTIONS.values(), "--overwrite"])
    command = run._resuming(options, parser, "my job.yaml", ["--runner=X", "--job=x"])
    words = shlex.split(command)
    assert words[:4] == ["pipelines-beam", "run", "my job.yaml", "--runner=X"]
    assert sorted(words[4:]) == sorted([*OPTIONS.values(), "--resume"])
    again = parser.parse_args(words[4:])
    assert {**vars(again), "existing": "overwrite"} == vars(options)


def test_rows_are_audited(folder: Path, model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    audit = {"share": 0.1, "max_flips": 0}
    file = of_files(folder, model("bert-classification"), audit=audit)
    assert cli.main(["run", file, "--json", "--audit=1"]) == statuses.ROWS_FAILED
    (job,) = events(capsys.readouterr().out)[-1]["jobs"]
    audited = job["audit"]
    assert (audited["rows"], audited["flips"], audited["warnings"]) == (6, 0, [])
    assert audited["files"] == f"{folder}/out/_audit"
    assert cli.main(["run", file, "--audit=1", "--resume"]) == statuses.ROWS_FAILED
    said = capsys.readouterr()
    assert "audited 6 rows in float32: 0 with another answer (0.00%)" in said.out
    assert "warning" not in said.err


def _started(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pipelines_beam", "run", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, start_new_session=True, **options
    )


def _long(folder: Path, model: str) -> str:
    """The file of a job that takes long enough to be stopped."""
    pq.write_table(pa.table({"text": ["good"] * 3000}), folder / "in.parquet")
    return of_files(folder, model, rows_per_shard=1)


def _wait(process: subprocess.Popen[str], folder: Path) -> None:
    """Until the first file is written."""
    until = time.monotonic() + 200
    while process.poll() is None and not list((folder / "out").glob("part-*")):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [(), WORKERS], ids=["one process", "workers"])
def test_ctrl_c(mode: tuple[str, ...], folder: Path, model: Model) -> None:
    """All processes of a command get it."""
    process = _started(_long(folder, model("bert-classification")), *mode)
    _wait(process, folder)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=200)[1]
    assert process.returncode == statuses.STOPPED, said
    assert " --resume\nstopped\n" in said
    assert "Traceback" not in said
    assert "INFO" not in said


@pytest.mark.slow
def test_a_worker_process_that_is_killed_ends_the_job(folder: Path, model: Model) -> None:
    file = _long(folder, model("bert-classification"))
    process = _started(file, *WORKERS)
    _wait(process, folder)
    workers = [pid for pid in _children(process.pid) if "sdk_worker_main" in _command(pid)]
    os.kill(workers[-1], signal.SIGKILL)
    said = process.communicate(timeout=200)[1]
    assert process.returncode == statuses.FAILED, said
    assert f"{file}: RuntimeError: worker process {workers[-1]} was killed (SIGKILL)" in said
    assert " --resume" in said
    assert "Traceback" not in said


def _children(pid: int) -> list[int]:
    """The processes of a command: its session."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(path.name)) == pid:
                found.append(int(path.name))
        except ProcessLookupError:
            continue
    return sorted(found)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return ""

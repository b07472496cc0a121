"""The first mistakes with a cluster: what the command says of each, whole, and with status 2."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.flink.answers import Answers, cluster_answering

from pipelines_beam import cli
from pipelines_beam.commands import statuses
from pipelines_beam.runners import checks, downloads, flink_checks


@pytest.fixture
def cluster() -> Iterator[tuple[str, Answers]]:
    with cluster_answering() as found:
        yield found


@pytest.fixture
def said(
    cluster: tuple[str, Answers],
    refusal: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., list[str]]:
    """What is said of `run job.yaml --on flink` with these options in place of good ones."""
    for program in ("java", "boot.sh"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o700)
    (tmp_path / "server.jar").touch()
    (tmp_path / "job.yaml").write_text(
        "pipeline: {type: chain, transforms: [{type: Create, config: {elements: [{a: 1}]}}]}"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    good = {
        "flink_master": cluster[0],
        "flink_version": "1.19",
        "flink_job_server_jar": "server.jar",
        "environment_type": "PROCESS",
        "environment_config": json.dumps({"command": str(tmp_path / "boot.sh")}),
    }

    def said(*more: str, **given: str | None) -> list[str]:
        options = {name: value for name, value in {**good, **given}.items() if value is not None}
        flags = [f"--{name}={value}" for name, value in options.items()]
        lines = refusal("run", "job.yaml", "--on=flink", *flags, *more).splitlines()
        return [line.removeprefix("  ") for line in lines]

    return said


FIRST = "job.yaml: FlinkRunner cannot run this job:"


def test_no_java(said: Callable[..., list[str]], tmp_path: Path) -> None:
    (tmp_path / "java").unlink()
    assert said() == [
        FIRST,
        "Java is not installed ('java' is not found), which runs Beam's job server: install Java "
        "11 or 17, or give --job_server_java_launcher=FILE",
    ]


def test_no_job_server(
    said: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "unreachable", lambda url: "Network is unreachable")
    _, line = said(flink_job_server_jar=None, jar_cache_dir=str(tmp_path))
    start, _, advice = line.partition(": get https://")
    assert start == (
        "Beam's job server for Flink 1.19 cannot be downloaded (Network is unreachable)"
    )
    assert advice.endswith(".jar where it can be reached, and give --flink_job_server_jar=FILE")


def test_a_file_that_is_no_job_server(said: Callable[..., list[str]]) -> None:
    assert said(flink_job_server_jar="other.jar") == [
        FIRST,
        "there is no job server 'other.jar': give --flink_job_server_jar=FILE",
    ]


def test_no_cluster(said: Callable[..., list[str]]) -> None:
    assert said(flink_master="127.0.0.1:1") == [
        FIRST,
        "no Flink cluster answers at http://127.0.0.1:1 ([Errno 111] Connection refused): start "
        "one, or give --flink_master=HOST:PORT, the address of its web page",
    ]


def test_no_docker(said: Callable[..., list[str]]) -> None:
    given = {"environment_type": None, "environment_config": None}
    assert said(**given, sdk_container_image="mine:1") == [
        FIRST,
        "Docker is not installed, which starts the workers: install and start it, or give "
        "--environment_type=PROCESS and the command that starts a worker",
    ]


def test_too_few_slots(
    said: Callable[..., list[str]],
    cluster: tuple[str, Answers],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert said(parallelism="8") == [
        FIRST,
        "parallelism 8 needs as many task slots, and the cluster has 4 in 2 TaskManagers: give "
        "--parallelism=4, or start TaskManagers",
    ]
    monkeypatch.setattr(flink_checks, "_SECONDS_TO_FREE", 0.0)
    cluster[1]["/overview"]["slots-available"] = 1
    assert said(parallelism="2") == [
        FIRST,
        "parallelism 2 needs as many task slots, and 1 of 4 are free: wait for the jobs that run, "
        "or cancel them",
    ]


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("--checkpointing_interval=500", ""),
        ("--paralelism=2", " Did you mean '--parallelism'?"),
    ],
)
def test_an_option_that_beam_does_not_know(
    given: str, hint: str, said: Callable[..., list[str]]
) -> None:
    line = said(given)[-1]
    name = given.partition("=")[0]
    assert f"unknown option {name!r}.{hint} Valid: " in line
    assert line.endswith(
        "One that only the runner's job server knows is given as --beam-option NAME=VALUE"
    )


def test_a_model_that_workers_lack(
    model: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = model("bert-classification")
    monkeypatch.setattr(checks, "check", lambda *_, **__: None)
    (tmp_path / "job.yaml").write_text(
        f"""
pipeline:
  type: chain
  transforms:
    - {{type: Create, config: {{elements: [{{text: good}}]}}}}
    - {{type: TextClassification, config: {{model: {path}, input: text}}}}
    - {{type: LogForTesting}}
"""
    )
    there = "--flink_master=flink.example.com:8081"
    command = ["run", str(tmp_path / "job.yaml"), "--on=flink", there, "--dry-run"]
    assert cli.main(command) == statuses.DONE
    assert capsys.readouterr().err == (
        f"the model is a directory of this machine, {path!r}: each worker needs it under the same "
        "path, for example in its image; or give a URI such as s3://…\n"
    )

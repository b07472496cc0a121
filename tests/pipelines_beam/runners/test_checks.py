"""What each runner needs: a line for each thing that is missing, before anything is sent."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from support.flink.answers import Answers, cluster_answering

from pipelines_beam.runners import checks, downloads, flink_checks
from pipelines_beam.runners.errors import RunnerError
from pipelines_beam.runners.flink_rest import FlinkRest


@pytest.fixture
def flink() -> Iterator[tuple[str, Answers]]:
    """The address of a cluster, and what it answers."""
    with cluster_answering() as found:
        yield found


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Puts a program into an otherwise empty PATH; returns its path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name: str, script: str = "exit 0") -> str:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(stat.S_IRWXU)
        return str(folder / name)

    return put


@pytest.fixture
def good(
    flink: tuple[str, Answers], programs: Callable[..., str], tmp_path: Path
) -> dict[str, str]:
    """The options of a job that lacks nothing."""
    programs("java")
    (tmp_path / "server.jar").touch()
    return {
        "runner": "FlinkRunner",
        "flink_master": flink[0],
        "flink_version": "1.19",
        "flink_job_server_jar": str(tmp_path / "server.jar"),
        "parallelism": "4",
        "environment_type": "PROCESS",
        "environment_config": json.dumps({"command": programs("boot.sh")}),
    }


def missing(options: dict[str, str]) -> list[str]:
    """The lines of the error, without its first; none if there is no error."""
    try:
        checks.check(PipelineOptions([f"--{name}={value}" for name, value in options.items()]))
    except RunnerError as error:
        first, *lines = str(error).splitlines()
        assert first == f"{options['runner']} cannot run this job:"
        return [line.strip() for line in lines]
    return []


def test_a_job_that_lacks_nothing(good: dict[str, str]) -> None:
    assert missing(good) == []


def test_everything_that_is_missing_is_said_at_once(good: dict[str, str]) -> None:
    given = {"job_server_java_launcher": "jav", "parallelism": "5", "environment_config": "{}"}
    java, slots, command = missing({**good, **given})
    assert java.startswith("Java is not installed ('jav' is not found)")
    assert slots == (
        "parallelism 5 needs as many task slots, and the cluster has 4 in 2 TaskManagers: give "
        "--parallelism=4, or start TaskManagers"
    )
    assert command.startswith("environment_type PROCESS needs the command that starts a worker")


def test_java(good: dict[str, str], programs: Callable[..., str]) -> None:
    os.remove(programs("java"))
    (line,) = missing(good)
    assert "Java is not installed ('java' is not found)" in line
    assert "install Java 11 or 17" in line
    assert missing({**good, "job_endpoint": "localhost:8099"}) == []  # the job server is there


def test_a_job_server_that_is_not_there(good: dict[str, str]) -> None:
    assert missing({**good, "flink_job_server_jar": "no.jar"}) == [
        "there is no job server 'no.jar': give --flink_job_server_jar=FILE"
    ]


def test_a_job_server_that_cannot_be_downloaded(
    good: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    del good["flink_job_server_jar"]
    good["jar_cache_dir"] = str(tmp_path)
    monkeypatch.setattr(downloads, "unreachable", lambda url: f"no way to {url[-4:]}")
    (line,) = missing(good)
    assert line.startswith("Beam's job server for Flink 1.19 cannot be downloaded (no way to .jar)")
    assert line.endswith("and give --flink_job_server_jar=FILE")
    monkeypatch.setattr(downloads, "unreachable", lambda url: "")
    assert missing(good) == []


def test_a_file_of_the_web(flink: tuple[str, Answers]) -> None:
    assert downloads.unreachable(f"{flink[0]}/no.jar") == "HTTP 501"
    assert "refused" in downloads.unreachable("http://127.0.0.1:1/no.jar")


def test_a_cluster_that_does_not_answer(good: dict[str, str]) -> None:
    (line,) = missing({**good, "flink_master": "127.0.0.1:1"})
    assert line.startswith("no Flink cluster answers at http://127.0.0.1:1 (")
    assert "refused" in line
    assert line.endswith("or give --flink_master=HOST:PORT, the address of its web page")


def test_something_else_than_a_cluster(good: dict[str, str], flink: tuple[str, Answers]) -> None:
    flink[1]["/overview"] = ["hello"]
    (line,) = missing(good)
    assert line.startswith(f"no Flink cluster answers at {flink[0]} (TypeError")


@pytest.mark.parametrize(
    ("version", "advice"),
    [("1.20.1", "give --flink_version=1.20"), ("1.15.0", "Beam has job servers for 1.19, 1.20")],
)
def test_another_version(
    version: str, advice: str, good: dict[str, str], flink: tuple[str, Answers]
) -> None:
    flink[1]["/config"]["flink-version"] = version
    (line,) = missing(good)
    assert f"the cluster runs Flink {version}, and --flink_version is 1.19: {advice}" in line


def test_slots(
    good: dict[str, str], flink: tuple[str, Answers], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flink_checks, "_SECONDS_TO_FREE", 0.0)
    flink[1]["/overview"]["slots-available"] = 1
    (line,) = missing(good)
    assert line.startswith("parallelism 4 needs as many task slots, and 1 of 4 are free: wait")
    flink[1]["/overview"].update({"slots-total": 0, "taskmanagers": 0})
    (line,) = missing(good)
    assert line.endswith("and the cluster has 0 in 0 TaskManagers: start TaskManagers")


def test_slots_that_become_free(good: dict[str, str], flink: tuple[str, Answers]) -> None:
    overview = flink[1]["/overview"]
    overview["slots-available"] = 1
    threading.Timer(0.3, overview.update, [{"slots-available": 4}]).start()
    assert missing(good) == []


def test_a_command_that_is_no_program(good: dict[str, str]) -> None:
    good["environment_config"] = json.dumps({"command": "/no/boot.sh"})
    (line,) = missing(good)
    assert line.startswith("the command that starts a worker, '/no/boot.sh', is not a program")
    # On other machines it may be one.
    assert FlinkRest("http://flink.example.com:8081").is_here is False
    good["environment_config"] = "boot.sh"
    (line,) = missing(good)
    assert line.startswith("environment_config must be JSON, got 'boot.sh'")


def test_docker(good: dict[str, str], programs: Callable[..., str]) -> None:
    del good["environment_config"]
    good.update(environment_type="DOCKER", sdk_container_image="mine:1")
    (line,) = missing(good)
    assert line.startswith("Docker is not installed, which starts the workers")
    assert "--environment_type=PROCESS" in line
    programs("docker", "echo Cannot connect to the Docker daemon >&2; exit 1")
    (line,) = missing(good)
    assert "does not run (Cannot connect to the Docker daemon)" in line
    programs("docker")
    assert missing(good) == []
    del good["sdk_container_image"]
    (line,) = missing(good)
    assert line.startswith("Beam's own image for workers lacks pipelines-beam")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"environment_type": "LOOPBACK"}, "is this process, which other machines cannot reach"),
        ({"environment_type": "EXTERNAL"}, "needs the address of a worker pool"),
    ],
)
def test_other_environments(
    options: dict[str, str],
    said: str,
    good: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    del good["environment_config"]
    monkeypatch.setattr(FlinkRest, "is_here", False)
    (line,) = missing({**good, **options})
    assert said in line


def test_flink_within_the_job_server_needs_no_cluster(good: dict[str, str]) -> None:
    kept = ("runner", "flink_version", "flink_job_server_jar")
    assert missing({name: good[name] for name in kept}) == []


def test_dataflow() -> None:
    pytest.importorskip("apache_beam.runners.dataflow.dataflow_runner")
    lines = missing({"runner": "DataflowRunner", "temp_location": "/tmp", "region": ""})
    found = "\n".join(lines)
    assert "project is not set: give --project=my-project" in found
    assert "region is not set: give --region=us-central1" in found
    assert "temp_location must be a folder of a bucket, got '/tmp'" in found
    assert "Beam's own image for workers lacks pipelines-beam" in found


def test_dataflow_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_is_installed", lambda module: True)
    monkeypatch.setattr(checks, "_has_credentials", lambda: False)
    first, *_ = missing({"runner": "DataflowRunner"})
    assert first.startswith("there are no credentials for Google Cloud: `gcloud auth applicat")


def test_prism(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (line,) = missing({"runner": "PrismRunner", "prism_location": "/no/prism"})
    assert line.startswith("there is no file '/no/prism': go install github.com/apache/beam")
    assert missing({"runner": "PrismRunner", "prism_location": str(tmp_path)}) == []
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(downloads, "unreachable", lambda url: "no way")
    (line,) = missing({"runner": "PrismRunner"})
    assert line.startswith("Prism cannot be downloaded from https://github.com/")
    assert line.endswith("and give --prism_location=FILE")


def test_the_runner_of_this_machine_needs_nothing() -> None:
    assert missing({"runner": "DirectRunner"}) == []

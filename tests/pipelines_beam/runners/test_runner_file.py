"""Files of Beam's options for --on: those that come with the package, and one's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from apache_beam.options.pipeline_options import (
    FlinkRunnerOptions,
    GoogleCloudOptions,
    StandardOptions,
)

from pipelines_beam import beam_options, cli, yaml_job
from pipelines_beam.runners import runner_file
from pipelines_beam.runners.errors import RunnerError

JOB = "pipeline: {type: chain, transforms: [{type: Create, config: {elements: [{a: 1}]}}]}\n"


@pytest.mark.parametrize("name", runner_file.NAMES)
def test_every_option_of_a_file_is_an_option_of_beam(name: str) -> None:
    options = beam_options.settings([], {}, {}, runner_file.load(name))
    assert options.view_as(StandardOptions).runner


@pytest.mark.parametrize("name", runner_file.NAMES)
def test_so_is_each_that_is_commented_out(name: str) -> None:
    text = runner_file.path_of(name).read_text(encoding="utf-8")
    found = yaml.safe_load("\n".join(re.findall(r"^# ([a-z_]+: .+|[a-z_]+:|  - .+)$", text, re.M)))
    beam_options.settings([], {}, {}, found)


def test_the_command_goes_before_the_file_of_the_runner_and_this_before_that_of_the_job() -> None:
    on = {"runner": "FlinkRunner", "parallelism": 2, "flink_master": "a:1"}
    _, flags, given = beam_options.parsed(["x.yaml", "--flink_master=b:2"], [], [])
    found = beam_options.settings(flags, given, {"runner": "DirectRunner", "parallelism": 7}, on)
    assert found.view_as(StandardOptions).runner == "FlinkRunner"
    flink = found.view_as(FlinkRunnerOptions)
    assert (flink.flink_master, flink.parallelism) == ("b:2", 2)


def test_a_file_of_ones_own_runs_a_job(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"runner: {beam_options.DEFAULT_RUNNER}\njob_name: mine\n")
    (tmp_path / "job.yaml").write_text(JOB)
    job = yaml_job.built(str(tmp_path / "job.yaml"), {}, [], {}, {}, on=f"{tmp_path}/mine.yaml")
    assert job.settings.view_as(GoogleCloudOptions).job_name == "mine"
    assert cli.main(["run", str(tmp_path / "job.yaml"), f"--on={tmp_path}/mine.yaml"]) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("paralelism: 2", "--on: unknown option 'paralelism'. Did you mean 'parallelism'?"),
        ("parallelism: many", "--on: parallelism: argument --parallelism: invalid int value"),
        ("streaming: 3", "--on: streaming must be true or false, got 3"),
        ("- runner", "must have an option of Beam on a line: got ['runner']"),
        ("a: [", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    text: str, said: str, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "job.yaml").write_text(JOB)
    assert said in refusal("run", str(tmp_path / "job.yaml"), f"--on={tmp_path / 'mine.yaml'}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("flnk", "--on: unknown runner 'flnk'. Did you mean 'flink'? Valid: dataflow, flink"),
        ("my/cluster.yaml", "--on: there is no file 'my/cluster.yaml'"),
    ],
)
def test_a_name_that_is_none_is_refused(name: str, said: str) -> None:
    with pytest.raises(RunnerError) as error:
        runner_file.load(name)
    assert str(error.value).startswith(said)


def test_the_help_lists_the_names(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    said = capsys.readouterr().out
    assert all(name in said for name in runner_file.NAMES)

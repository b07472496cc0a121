"""A command that is stopped: what becomes of its job on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from support.flink.answers import Answers, cluster_answering, job

from pipelines_beam import beam_options, cli, provider
from pipelines_beam.runners import checks, stopping
from pipelines_beam.runners.errors import RunnerError


@pytest.fixture
def flink() -> Iterator[tuple[str, Answers]]:
    with cluster_answering() as (url, answers):
        jobs = [job("a", "mine", 1), job("b", "mine", 2), job("c", "mine", 3, 4), job("d", "z", 5)]
        answers["/jobs/overview"]["jobs"] = jobs
        yield url, answers


def options(url: str, name: str = "mine") -> PipelineOptions:
    return PipelineOptions(["--runner=FlinkRunner", f"--flink_master={url}", f"--job_name={name}"])


def running(answers: Answers) -> list[str]:
    return [each["jid"] for each in answers["/jobs/overview"]["jobs"] if each["end-time"] < 0]


def test_the_newest_job_of_its_name_is_cancelled(flink: tuple[str, Answers]) -> None:
    assert stopping.stop(options(flink[0])) == "the job mine is cancelled on Flink"
    assert running(flink[1]) == ["a", "d"]


def test_jobs_that_were_there_before_are_not_cancelled(flink: tuple[str, Answers]) -> None:
    given = options(flink[0])
    before = stopping.others(given)
    assert before == {"a", "b", "c"}
    assert stopping.stop(given, before) is None
    assert stopping.stop(given, {"b"}) == "the job mine is cancelled on Flink"
    assert running(flink[1]) == ["b", "d"]


def test_a_job_that_is_not_waited_for_is_sent_first(flink: tuple[str, Answers]) -> None:
    class Result:
        state = "RUNNING"

    result: Any = Result()
    stopping.wait_until_sent(options(flink[0]), result)
    stopping.wait_until_sent(options(flink[0]), result, {"a", "b"})  # c, which has ended
    Result.state = "FAILED"
    stopping.wait_until_sent(options(flink[0]), result, {"a", "b", "c"})
    stopping.wait_until_sent(options(flink[0], "never there"), result)
    stopping.wait_until_sent(PipelineOptions(["--runner=DirectRunner"]), result)


def test_what_answers_is_not_flink(flink: tuple[str, Answers]) -> None:
    flink[1]["/jobs/overview"] = {"jobs": [{"id": 1}]}
    assert str(stopping.stop(options(flink[0]))).startswith("the job mine may go on")


def test_a_job_that_has_ended_is_not_spoken_of(flink: tuple[str, Answers]) -> None:
    assert stopping.stop(options(flink[0], "other")) is None


def test_how_a_job_that_goes_on_is_cancelled(
    flink: tuple[str, Answers], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, answers = flink
    answers["cancels"] = False
    monkeypatch.setattr(stopping, "_SECONDS", 0.0)
    assert stopping.stop(options(url)) == (
        f"the job mine goes on on Flink: cancel it with curl -X PATCH '{url}/jobs/b?mode=cancel'"
    )
    assert stopping.stop(options("127.0.0.1:1")) == (
        "the job mine may go on: Flink does not answer at http://127.0.0.1:1, cancel it there"
    )


def test_dataflow() -> None:
    class Result:
        def job_id(self) -> str:
            return "2026-1"

    given = PipelineOptions(["--runner=DataflowRunner", "--region=r1"])
    result: Any = Result()
    assert stopping.stop(given, (), result) == (
        "the job goes on on Dataflow: cancel it with gcloud dataflow jobs cancel 2026-1 --region=r1"
    )


def test_a_job_of_this_machine_ends_with_its_process() -> None:
    assert stopping.stop(PipelineOptions(["--runner=DirectRunner"])) is None


def test_a_job_on_flink_has_a_name() -> None:
    def named(*given: str) -> Any:
        options = PipelineOptions(list(given))
        stopping.name_job(options, "jobs/quick.yaml")
        return options.view_as(GoogleCloudOptions).job_name

    assert named("--runner=FlinkRunner").startswith("quick-")
    assert named("--runner=FlinkRunner") != named("--runner=FlinkRunner")
    assert named("--runner=FlinkRunner", "--job_name=mine") == "mine"
    assert named("--runner=DataflowRunner") is None


def test_jobs_of_the_same_outputs_have_the_same_name() -> None:
    def named(file: str, *outputs: str) -> Any:
        options = PipelineOptions(["--runner=FlinkRunner"])
        assert stopping.name_job(options, file, outputs) is bool(outputs)
        return options.view_as(GoogleCloudOptions).job_name

    assert named("a/x.yaml", "/o", "s3://b") == named("x.yaml", "s3://b", "/o")
    assert named("x.yaml", "/o") != named("x.yaml", "/p")
    given = PipelineOptions(["--runner=FlinkRunner", "--job_name=mine"])
    assert stopping.name_job(given, "x.yaml", ["/o"]) is False


def test_all_jobs_of_the_name_are_taken_over(flink: tuple[str, Answers]) -> None:
    left = stopping.left_over(options(flink[0]))
    assert sorted(left) == ["a", "b"]
    said = stopping.take_over(options(flink[0]), left)
    assert said == ["the job mine is cancelled on Flink"] * 2
    assert running(flink[1]) == ["d"]
    assert stopping.left_over(options(flink[0])) == []
    assert stopping.left_over(options("127.0.0.1:1")) == []
    assert stopping.left_over(PipelineOptions(["--runner=DirectRunner"])) == []


def test_two_jobs_never_write_one_output(
    flink: tuple[str, Answers], monkeypatch: pytest.MonkeyPatch
) -> None:
    flink[1]["cancels"] = False
    monkeypatch.setattr(stopping, "_SECONDS", 0.0)
    with pytest.raises(RunnerError, match="not ended: the job mine goes on on Flink: cancel it"):
        stopping.take_over(options(flink[0]), ["a"])


class _BuiltError(Exception):
    """The job is built a second time, to be run."""


@pytest.mark.parametrize(
    ("asked", "wrong", "left"),
    [
        ([], "", ["a"]),
        (["--resume"], "", []),
        (["--overwrite"], "", []),
        (["--resume"], "runner", ["a"]),
        (["--resume"], "task", ["a"]),
        (["--dry-run"], "", ["a"]),
    ],
)
def test_a_job_that_is_resumed_takes_over(
    asked: list[str],
    wrong: str,
    left: list[str],
    flink: tuple[str, Answers],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A job for the same output is cancelled on Flink, if nothing is wrong with the new one."""
    file = tmp_path / "embed.yaml"
    file.write_text(
        "pipeline: {transforms: [{type: ProcessFiles, config: {files: no, task: no, output: out}}]}"
    )
    monkeypatch.chdir(tmp_path)
    given = PipelineOptions(["--runner=FlinkRunner"])
    stopping.name_job(given, str(file), [str(tmp_path / "out")])
    name = given.view_as(GoogleCloudOptions).job_name
    flink[1]["/jobs/overview"]["jobs"] = [job("a", name, 1)]

    def checked(*_: Any, **__: Any) -> None:
        if wrong == "runner":
            raise RunnerError("no Java")

    def expanded(*_: Any, writes: bool) -> None:
        if writes:
            raise _BuiltError
        if wrong == "task":
            raise ValueError("no such column")

    monkeypatch.setattr(checks, "check", checked)
    monkeypatch.setattr(provider, "expand", expanded)
    command = ["run", str(file), "--runner=FlinkRunner", f"--flink_master={flink[0]}", *asked]
    cli.main(command)
    assert running(flink[1]) == left
    said = capsys.readouterr().err
    assert (f"the job {name} is cancelled on Flink" in said) is not bool(left)


def test_the_command_says_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    (tmp_path / "job.yaml").write_text(
        "pipeline: {type: chain, transforms: [{type: Create, config: {elements: [{a: 1}]}}]}"
    )
    monkeypatch.setattr(beam.Pipeline, "run", interrupted)
    monkeypatch.setattr(stopping, "stop", lambda options, *results: "the job goes on")
    status = cli.main(
        ["run", str(tmp_path / "job.yaml"), f"--runner={beam_options.DEFAULT_RUNNER}"]
    )
    assert status == 130
    assert capsys.readouterr().err.endswith("the job goes on\nstopped\n")

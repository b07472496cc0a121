"""A command that is stopped: what becomes of its job on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions
from support.flink.answers import Answers, cluster_answering, job

from pipelines_beam import beam_options, cli
from pipelines_beam.runners import stopping


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
    assert before == {"a", "b"}
    assert stopping.stop(given, before) is None
    assert stopping.stop(given, {"b"}) == "the job mine is cancelled on Flink"
    assert running(flink[1]) == ["b", "d"]


def test_a_job_that_is_not_waited_for_is_sent_first(flink: tuple[str, Answers]) -> None:
    class Result:
        state = "RUNNING"

    result: Any = Result()
    stopping.wait_until_sent(options(flink[0]), result)
    Result.state = "FAILED"
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

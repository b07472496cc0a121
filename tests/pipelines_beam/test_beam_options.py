"""Options of Beam: in a command and in a file."""

from __future__ import annotations

from typing import Any

from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    StandardOptions,
)
from apache_beam.runners.portability.portable_runner import PortableRunner

from pipelines_beam import beam_options


def settings(arguments: list[str], unchecked: list[str], **own: Any) -> PipelineOptions:
    _, flags, given = beam_options.parsed(["x.yaml", *arguments], [], unchecked)
    return beam_options.settings(flags, given, own)


def test_the_command_goes_before_the_file() -> None:
    found = settings(["--direct_num_workers", "3"], [], direct_num_workers=2, streaming=True)
    assert found.view_as(DirectOptions).direct_num_workers == 3
    assert found.view_as(StandardOptions).streaming is True
    assert found.view_as(StandardOptions).runner == beam_options.DEFAULT_RUNNER
    found = settings(["--runner=DirectRunner"], [], runner="FlinkRunner")
    assert found.view_as(StandardOptions).runner == "DirectRunner"


def image(*arguments: str) -> str:
    """Of the containers in which a job's workers run."""
    given = settings(["--runner=FlinkRunner", *arguments], [])
    environment = PortableRunner._create_environment(given)
    return str(environment.container_image)


def test_workers_on_flink_run_in_the_image_that_is_named() -> None:
    named = "--sdk_container_image=me/x:1"
    assert image(named) == "me/x:1"
    assert image(named, "--environment_type=DOCKER") == "me/x:1"
    assert image(named, "--environment_config=me/y:2") == "me/y:2"
    assert image(named, "--environment_options=docker_container_image=me/z:3") == "me/z:3"
    given = settings([named, "--runner=DataflowRunner"], []).view_as(PortableOptions)
    assert given.environment_config is None


def test_the_library_that_pickles_may_be_chosen() -> None:
    def library(arguments: list[str], **own: Any) -> Any:
        return settings(arguments, [], **own).view_as(SetupOptions).pickle_library

    assert library([]) == "cloudpickle"
    assert library(["--pickle_library=dill"]) == "dill"
    assert library([], pickle_library="dill") == "dill"
    assert library(["--pickle_library=dill"], pickle_library="cloudpickle") == "dill"


def test_what_only_a_job_server_knows_gets_there() -> None:
    """A portable runner's server says what it knows: those of the rest that are given reach it."""
    found = settings([], ["checkpointing_interval=500", "fasterCopy"])

    def server(parser: Any) -> None:
        parser.add_argument("--checkpointing_interval", type=int)
        parser.add_argument("--fasterCopy", action="store_true")

    all_of_them = found.get_all_options(add_extra_args_fn=server)
    assert all_of_them["checkpointing_interval"] == 500
    assert all_of_them["fasterCopy"] is True


def test_values_of_a_file_have_the_types_of_the_command() -> None:
    """As YAML reads 1.19 and "4"."""
    environment = {"command": "/boot"}
    given = {"flink_version": 1.19, "parallelism": "4", "environment_config": environment}
    found = settings(["--runner=FlinkRunner"], [], experiments=["a", "b"], **given)
    options = found.get_all_options()
    assert (options["flink_version"], options["parallelism"]) == ("1.19", 4)
    assert options["environment_config"] == '{"command": "/boot"}'
    assert {"a", "b"} <= set(options["experiments"])


def test_a_file_is_found_among_options() -> None:
    for order in (["--runner", "DirectRunner", "x.yaml"], ["x.yaml", "--runner", "DirectRunner"]):
        file, flags, given = beam_options.parsed(order, [], [])
        assert (file, flags) == ("x.yaml", ["--runner", "DirectRunner"])
        assert given == {"runner": "DirectRunner"}


def test_every_option_of_beam_is_known() -> None:
    known = beam_options.described()
    for option in ("--project", "--flink_master", "--environment_type", "--labels", "--s3_verify"):
        assert option in known
    assert "--dry_run" not in known

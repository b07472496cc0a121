"""What a command or a file says and nobody reads is refused before anything runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
)
from apache_beam.yaml.yaml_transform import SafeLineLoader

from pipelines_beam import beam_options, cli, sources, template

Refusal = Callable[..., str]


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Refusal:
    """What is said of a command that must be refused: with status 2, and without running."""
    import apache_beam as beam

    monkeypatch.setattr(beam.Pipeline, "run", lambda *args, **kwargs: pytest.fail("it ran"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))

    def refusal(*args: str) -> str:
        with pytest.raises(SystemExit) as exit_:
            raise SystemExit(cli.main(args))
        assert exit_.value.code == cli.REFUSED
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return said

    return refusal


def job(tmp_path: Path, text: str = "pipeline: {{ body | default('{}') }}") -> str:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    return str(path)


def chain(*transforms: dict[str, Any], **more: Any) -> str:
    """A file with a chain of transforms."""
    return yaml.safe_dump({"pipeline": {"type": "chain", "transforms": list(transforms)}, **more})


CREATE = {"type": "Create", "config": {"elements": [{"text": "good"}]}}
LOG = {"type": "LogForTesting"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dry-run"], "unknown option '--dry-run'"),
        (["--dry_run"], "unknown option '--dry_run'"),  # Beam has it for its own tests only
        (["--limit", "10"], "unknown option '--limit'"),
        (["--limit=10"], "unknown option '--limit'"),
        (["--verbos"], "Did you mean '--verbose'?"),
        (["--Verbose"], "Did you mean '--verbose'?"),
        (["-v"], "unknown option '-v'"),
        (["--direct_runing_mode=multi_processing"], "Did you mean '--direct_running_mode'?"),
        (["--direct-running-mode=in_memory"], "Did you mean '--direct_running_mode'?"),
        (["--direct_running_mode=multi"], "invalid choice: 'multi'"),
        (["--direct_num_workers=many"], "invalid int value: 'many'"),
        (["--runner=FlinkRuner"], "Unexpected pipeline runner: FlinkRuner"),
        (["other.yaml"], "one file is run at a time"),
        (["--set=bdy=1"], "unknown variable 'bdy'. Did you mean 'body'?"),
        (["--set", "here=/"], "'here' is not a variable that can be set"),
        (["--set=body=1", "--set=body=2"], "body is given twice: '1' and '2'"),
        (["--set==1"], "must be NAME=VALUE, got '=1'"),
        (["--set", "body"], "must be NAME=VALUE, got 'body'"),
        (["--beam-option="], "must be NAME=VALUE"),
    ],
)
def test_what_a_command_says_and_nobody_reads_is_refused(
    arguments: list[str], said: str, refusal: Refusal, tmp_path: Path
) -> None:
    file = job(tmp_path)
    assert said in refusal("run", file, *arguments)
    assert said in refusal("run", *arguments, file)


def test_what_is_valid_is_said(refusal: Refusal, tmp_path: Path) -> None:
    said = refusal("run", job(tmp_path), "--limit")
    for valid in ("--set", "--verbose", "--help-beam", "--beam-option NAME=VALUE"):
        assert valid in said
    assert len(said) < 500
    assert "the Beam YAML file to run is missing" in refusal("run", "--verbose")
    assert "Did you mean '--json'?" in refusal("tasks", "--jsn")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (chain(CREATE, LOG, optoins={}), "unknown key 'optoins'. Did you mean 'options'?"),
        ("pipelines: {}", "unknown key 'pipelines'. Did you mean 'pipeline'?"),
        ("- 1", "needs a 'pipeline', got [1]"),
        (chain(CREATE, LOG, options={"direct_runing_mode": "x"}), "'direct_running_mode'?"),
        (chain(CREATE, LOG, options={"direct_running_mode": "x"}), "invalid choice: 'x'"),
        (chain(CREATE, LOG, options={"direct_num_workers": "two"}), "direct_num_workers"),
        (chain(CREATE, LOG, options={"streaming": "maybe"}), "streaming must be true or false"),
        (chain(CREATE, LOG, options={"runner": "Flnk"}), "Unexpected pipeline runner: Flnk"),
        (chain(CREATE, {**LOG, "inputs": "Create"}), "unknown key 'inputs'. Did you mean 'input'"),
        (chain(CREATE, {"type": "TextClasification"}), "Did you mean 'TextClassification'?"),
        (chain(CREATE, {"type": "textClassification"}), "Did you mean 'TextClassification'?"),
        (chain(CREATE, {"type": "readfromparquet"}), "Did you mean 'ReadFromParquet'?"),
        (chain(CREATE, {"type": "ner"}), "the type of its transform is 'TokenClassification'"),
        (chain({"type": "Create", "config": {"elemnts": [1]}}, LOG), "elemnts"),
        (
            chain(CREATE, {"type": "WriteToJson", "config": {"pth": "x"}}),
            "\"WriteToJson\" at line 7: TypeError: unknown key 'pth'. Did you mean 'path'?",
        ),
        (
            chain(CREATE, {"type": "WriteToCsv", "config": {"path": "x", "delimeter": ";"}}),
            "unknown key 'delimeter'",
        ),
        (
            chain(CREATE, {"type": "WriteToParquet", "config": {"path": "x", "codc": "gzip"}}),
            "unknown key 'codc'. Did you mean 'codec'?",
        ),
        ("pipeline: {type: chain, type: composite}", "the key 'type' stands twice"),
        ("pipeline: {type: chian, transforms: []}", "must be composite or chain, got 'chian'"),
        ("pipeline: {{ transforms }}", "needs the variable 'transforms': give it with --set"),
        (
            "pipeline: {transforms: [{type: Create, name: Read}, "
            "{type: LogForTesting, input: Raed}]}",
            "unknown input 'Raed'. Did you mean 'Read'?",
        ),
    ],
)
def test_what_a_file_says_and_nobody_reads_is_refused(
    text: str, said: str, refusal: Refusal, tmp_path: Path
) -> None:
    message = refusal("run", job(tmp_path, text))
    assert said in message
    assert len(message) < 4200


def test_a_long_value_is_not_printed_whole(refusal: Refusal, tmp_path: Path) -> None:
    long = yaml.safe_dump(["x" * 50] * 200)
    said = refusal("run", job(tmp_path, f"pipeline: {{}}\noptions:\n{long}"))
    assert "options must be a mapping of Beam's, got [" in said
    assert len(said) < 400
    assert len(refusal("run", job(tmp_path, long))) < 400


def test_variables_are_those_of_included_files_too(refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "part.yaml").write_text("# {{ not_read }}\n  {{ given }}")
    file = job(tmp_path, "pipeline: {% include 'part.yaml' %}")
    assert "Valid: given" in refusal("run", file, "--set=not_read=1")
    assert "unknown key 'typ'" in refusal("run", file, "--set=given={typ: chain}")
    dynamic = job(tmp_path, "pipeline: {% include kind ~ '.yaml' %}")
    said = refusal("run", dynamic, "--set=kind=part", "--set=given={}", "--set=gven=1")
    assert "unknown variable 'gven'. Did you mean 'given'?" in said


def test_keys_that_only_look_alike_are_two(tmp_path: Path) -> None:
    text = """
pipeline:
  deep:
    base: &base {x: 1, y: 1}
    more: &more {<<: *base, y: 2}
    other: &other {z: 3}
  both: {<<: *more, <<: *other, y: 4}
  keys: {1: a, "1": b}
"""
    found = SafeLineLoader.strip_metadata(template.load(job(tmp_path, text), {}))["pipeline"]
    assert found["deep"]["more"] == {"x": 1, "y": 2}
    assert found["both"] == {"x": 1, "y": 4, "z": 3}
    assert found["keys"] == {1: "a", "1": "b"}
    with pytest.raises(yaml.YAMLError, match="the key 'x' stands twice"):
        template.load(job(tmp_path, "pipeline: {<<: {x: 0}, x: 1, x: 1}"), {})


def test_lines_are_those_of_the_file(refusal: Refusal, tmp_path: Path) -> None:
    text = "# one\n# {{ two\n\npipeline:\n  type: chain\n  transforms:\n    - type: Crate\n"
    assert "line 7: unknown transform type 'Crate'" in refusal("run", job(tmp_path, text))


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


def test_two_sinks_with_the_same_files_are_refused(refusal: Refusal, tmp_path: Path) -> None:
    """The files of one would replace those of the other, when the job is done."""
    path = str(tmp_path / "out")
    steps = [
        {**CREATE, "name": "Read"},
        {"type": "WriteToJson", "name": "One", "input": "Read", "config": {"path": path}},
        {"type": "WriteToCsv", "name": "Other", "input": "Read", "config": {"path": path}},
    ]
    file = job(tmp_path, yaml.safe_dump({"pipeline": {"type": "composite", "transforms": steps}}))
    said = refusal("run", file)
    assert "One and " in said
    assert "Other both write to" in said


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("ReadFromJson", "", "has no rows: its columns are unknown"),
        ("ReadFromJson", "\n  \n\r\n", "has no rows: its columns are unknown"),
        ("ReadFromCsv", "", "has no header: its columns are unknown"),
        ("ReadFromCsv", "\ufeff\n\n", "has no header: its columns are unknown"),
    ],
)
def test_a_file_without_rows_is_named(
    kind: str, content: str, said: str, refusal: Refusal, tmp_path: Path
) -> None:
    (tmp_path / "in.1").write_text(content, encoding="utf-8")
    for path in (f"{tmp_path}/in.1", f"{tmp_path}/in.*"):
        read = {"type": kind, "config": {"path": path}}
        found = refusal("run", job(tmp_path, chain(read, LOG)))
        assert f'"{kind}" at line ' in found
        assert path in found
        assert said in found if path.endswith("1") else "the first file that matches, " in found
        assert "StopIteration" not in found
        assert len(found) < 600
    missing = {"type": kind, "config": {"path": f"{tmp_path}/none.*"}}
    assert "no files that match" in refusal("run", job(tmp_path, chain(missing, LOG)))


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ([None, None], '"Create" at line 3: all elements are null'),
        ([{"id": 1, "text": None}, {"id": 2}], "the column 'text' is null in all elements"),
    ],
)
def test_elements_that_are_all_null(
    elements: list[Any], said: str, refusal: Refusal, tmp_path: Path
) -> None:
    create = {"type": "Create", "config": {"elements": elements}}
    assert said in refusal("run", job(tmp_path, chain(create, LOG)))


def test_what_is_null_in_a_transform_is_not_given() -> None:
    log = {"type": "LogForTesting", "name": "Log", "config": None}
    task = {"type": "FillMask", "config": {"input": None, "error_handling": None, "top_k": None}}
    inner = {"type": "chain", "transforms": [task], "sink": log}
    found = sources.without_nulls({"pipeline": {"type": "composite", "transforms": [inner, log]}})
    assert found["pipeline"]["transforms"][0] == {
        "type": "chain",
        "transforms": [{"type": "FillMask", "config": {"input": None, "top_k": None}}],
        "sink": {"type": "LogForTesting", "name": "Log"},
    }
    assert log["config"] is None

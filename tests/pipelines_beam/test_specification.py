"""What a command or a file says and nobody reads is refused before anything runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.jobs import CREATE, LOG, chain, job

Refusal = Callable[..., str]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dry-rn"], "Did you mean '--dry-run'?"),
        (["--dry_run"], "unknown option '--dry_run'"),  # Beam has it for its own tests only
        (["--limit", "0"], "must be a positive number of rows, got '0'"),
        (["--limit=10"], "--limit is for files with ProcessFiles: there is none in this file"),
        (["--max-failures=1%"], "--max-failures is for files with ProcessFiles"),
        (["--rows", "10"], "unknown option '--rows'"),
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
    said = refusal("run", job(tmp_path), "--rows")
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
        (chain(CREATE, {"type": "asr"}), "Did you mean 'AutomaticSpeechRecognition'?"),
        (chain(CREATE, {"type": "stt"}), "Did you mean 'AutomaticSpeechRecognition'?"),
        (
            chain(CREATE, {"type": "LogForTesting", "config": {"error_handling": True}}),
            "error_handling must be {output: a name for the failures}, got True",
        ),
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


def test_lines_are_those_of_the_file(refusal: Refusal, tmp_path: Path) -> None:
    text = "# one\n# {{ two\n\npipeline:\n  type: chain\n  transforms:\n    - type: Crate\n"
    assert "line 7: unknown transform type 'Crate'" in refusal("run", job(tmp_path, text))


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

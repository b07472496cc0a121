"""Job files to begin with: for every task, one that `run` takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apache_beam.yaml.yaml_transform import SafeLineLoader

import transforms
from pipelines_beam import cli, new_job, template
from pipelines_beam.commands import statuses
from transforms.tasks import TASKS


def loaded(folder: Path, text: str, **variables: str) -> dict[str, Any]:
    """The config of ProcessFiles in a job file."""
    (folder / "job.yaml").write_text(text)
    spec = template.load(str(folder / "job.yaml"), {"files": "in/*", **variables})
    (step,) = SafeLineLoader.strip_metadata(spec)["pipeline"]["transforms"]
    assert step["type"] == "ProcessFiles"
    config: dict[str, Any] = step["config"]
    return config


@pytest.mark.parametrize("name", TASKS)
def test_every_task_has_a_file(name: str, tmp_path: Path) -> None:
    config = loaded(tmp_path, new_job.text(name))
    assert config["files"] == "in/*"
    task = config["task"]
    made = getattr(transforms, task["type"])(**task["config"])
    assert made.spec.task == name
    assert made.spec.model.source == TASKS[name].default()[0]


@pytest.mark.parametrize("name", TASKS)
def test_every_parameter_is_named(name: str) -> None:
    text = new_job.text(name)
    missing = [each for each in TASKS[name].parameters if f" {each}: " not in text]
    assert not missing


def test_a_printed_file_is_accepted(
    tmp_path: Path, model: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = model("bert-classification")
    assert cli.main(["new", "sentiment-analysis", "--model", name]) == statuses.DONE
    (tmp_path / "job.yaml").write_text(capsys.readouterr().out)
    (tmp_path / "in.jsonl").write_text('{"id": 1, "text": "good"}\n')
    settings = [f"--set=files={tmp_path}/in.jsonl", f"--set=output={tmp_path}/out"]
    job = str(tmp_path / "job.yaml")
    assert cli.main(["run", job, *settings, "--dry-run", "--json"]) == statuses.DONE
    (step,) = json.loads(capsys.readouterr().out)["steps"]
    assert step["model"] == name
    assert step["input"] == "1 files of jsonl, about 1 rows"
    assert step["columns"] == {
        "id": "int64",
        "text": "string",
        "label": "string",
        "score": "double",
    }
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["text-clasification"], "Did you mean 'text-classification'?"),
        (["fill-mask", "--model", "{{ x }}"], "model must be the name or path of a model"),
    ],
)
def test_what_has_no_file(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["new", *arguments]) == statuses.REFUSED
    assert said in capsys.readouterr().err

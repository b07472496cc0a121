"""The list of tasks: complete, and the same in the README and on the command line."""

from __future__ import annotations

import json
import re

import pytest
from support.commands import command
from support.paths import README

import transforms
from pipelines_beam import tasks
from transforms.tasks import ABSENT, REQUIRED, TASKS


def test_the_table_of_the_readme_is_the_list() -> None:
    text = README.read_text(encoding="utf-8")
    (found,) = re.findall(r"<!-- tasks -->\n(.*?)<!-- /tasks -->", text, re.DOTALL)
    absent = tuple(f"| `{name}`" for name in ABSENT)  # of the installed transformers
    rows = [row for row in found.splitlines() if not row.startswith(absent)]
    assert rows == tasks.as_markdown().splitlines(), "write it: pipelines-beam tasks --markdown"


def test_every_transform_says_its_columns() -> None:
    for task in TASKS.values():
        doc = " ".join(str(getattr(transforms, task.transform).__doc__).split())
        said = doc.partition("Column")[2]
        for column in task.columns({}):
            assert re.search(rf"\b{column}\b", said), (task.name, column)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_is_described_in_full(name: str) -> None:
    (found,) = (one for one in tasks.described() if one["task"] == name)
    assert found["default_model"].count("/") == 1
    assert found["default_revision"]
    assert found["columns"]
    assert found["inputs"].keys() == TASKS[name].inputs.keys()
    json.dumps(found)


def test_the_command_line_lists_them() -> None:
    done = command("tasks", "--json")
    assert done.returncode == 0, done.stderr
    assert [one["task"] for one in json.loads(done.stdout)] == list(TASKS)


def test_the_command_line_lists_what_each_takes_and_gives() -> None:
    done = command("tasks")
    assert done.returncode == 0, done.stderr
    lines = [re.split(r"  +", line, maxsplit=3) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == list(TASKS)
    assert lines[0][1:3] == ["TextClassification", "text, [text_pair]"]


@pytest.mark.slow
def test_the_command_line_shows_one_task_whole() -> None:
    done = command("tasks", "sentiment-analysis")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "text-classification (sentiment-analysis): TextClassification\n"
        "\n"
        "inputs\n"
        "  text       str\n"
        "  text_pair  str, optional\n"
        "\n"
        "parameters and their defaults\n"
        "  top_k              1\n"
        "  function_to_apply  None\n"
        "  and every keyword of the tokenizer's call\n"
        "\n"
        "columns\n"
        "  label  string\n"
        "  score  double\n"
        "\n"
        "columns with top_k=2\n"
        "  predictions  list<item: struct<label: string, score: double>>\n"
        "\n"
        "default model\n"
        "  distilbert/distilbert-base-uncased-finetuned-sst-2-english, revision 714eb0f\n"
    )


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_task_is_shown_in_full(name: str) -> None:
    shown = tasks.one_as_text(name)
    (found,) = (one for one in tasks.described() if one["task"] == name)
    words = set(re.findall(r"[^\s,():]+", shown))
    assert {*found["inputs"], *found["parameters"], *found["columns"]} <= words
    assert {found["transform"], found["default_model"], found["default_revision"]} <= words
    for name in found["parameters"]:
        required = TASKS[found["task"]].parameters[name] is REQUIRED
        assert (re.search(rf"  {name} +required\n", shown) is not None) == required


@pytest.mark.slow
def test_one_task_as_json() -> None:
    done = command("tasks", "ner", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["task"] == "token-classification"


def test_the_command_line_names_the_valid_tasks() -> None:
    done = command("tasks", "token-clasification")
    assert done.returncode == 2
    assert "Did you mean 'token-classification'?" in done.stderr
    assert "zero-shot-object-detection" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_refuses_what_it_does_not_know() -> None:
    done = command("tasks", "--runner=FlinkRunner")
    assert done.returncode == 2
    assert "--runner=FlinkRunner" in done.stderr

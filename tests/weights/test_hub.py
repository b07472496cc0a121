"""Revisions of the hub's models become commits when the pipeline is built."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import huggingface_hub
import pytest
import transformers
from apache_beam.ml.inference.base import RunInference
from support import hub as hubs
from support.comparing import same
from support.hub import Hub
from support.paths import ROOT, TESTS
from support.texts import CORPUS

from pipelines_beam import TaskModelHandler, TextClassification
from transforms.options.spec import ModelSpec, Spec
from transforms.stages import preflight
from transforms.weights import hub as hub_module

Model = Callable[[str], str]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub of this process's own, with an empty cache."""
    with hubs.serving() as hub:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        yield hub


def spec(model: str = "org/model", **options: Any) -> ModelSpec:
    return ModelSpec(task="text-classification", source=model, **options)


def test_branches_and_tags_become_commits(hub: Hub, model: Model) -> None:
    folder = model("bert-classification")
    first = hub.push("org/model", folder, "v1")
    second = hub.push("org/model", folder)
    assert hub_module.pinned(spec()).revision == second
    assert hub_module.pinned(spec(revision="v1")).revision == first
    assert hub_module.pinned(spec(revision=first)).revision == first
    assert hub_module.pinned(hub_module.pinned(spec())) == hub_module.pinned(spec())


def test_a_tokenizers_repository_has_commits_of_its_own(hub: Hub, model: Model) -> None:
    commit = hub.push("org/model", model("bert-classification"))
    old = hub.push("org/tokenizer", model("distilbert-classification"), "old")
    new = hub.push("org/tokenizer", model("distilbert-classification"))
    assert hub_module.pinned(spec(tokenizer="org/tokenizer")) == spec(
        revision=commit, tokenizer=f"org/tokenizer@{new}"
    )
    assert (
        hub_module.pinned(spec(tokenizer="org/tokenizer@old")).tokenizer == f"org/tokenizer@{old}"
    )
    assert hub_module.pinned(spec(processor="org/model")).processor == f"org/model@{commit}"


def test_what_is_not_of_the_hub_has_no_commit(model: Model) -> None:
    local = spec(model("bert-classification"), tokenizer="memory://tokenizer")
    assert hub_module.pinned(local) == local


def test_stages_put_together_by_hand_share_a_commit(hub: Hub, model: Model) -> None:
    commit = hub.push("org/model", model("bert-classification"))
    task = TextClassification("org/model")
    assert task.plan.pinned.spec.model.revision == commit
    hub.push("org/model", model("bert-classification"))
    assert task.plan.pinned.spec.model.revision == commit
    assert task.with_exception_handling().plan.pinned is task.plan.pinned
    assert task.spec.model.revision is None


def test_what_is_checked_is_the_commit(
    hub: Hub, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.push("org/model", model("bert-classification"))
    checked: list[Spec] = []
    monkeypatch.setattr(preflight, "check_task", lambda spec, *_: checked.append(spec))
    handler = TaskModelHandler("text-classification", "org/model")
    for transform in (RunInference(handler), TextClassification("org/model")):
        beam.Pipeline() | beam.Create(["a"]) | transform
    assert [spec.model.revision for spec in checked] == [commit] * 2
    assert handler._spec.model.revision == commit


@pytest.mark.parametrize("status", [0, 503])
def test_a_hub_out_of_reach_is_a_warning(
    status: int, hub: Hub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.status = status
    if not status:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with caplog.at_level(logging.WARNING):
        assert hub_module.pinned(spec(revision="v1")).revision == "v1"
    assert "the hub is out of reach: workers load org/model as it is then" in caplog.text


def test_out_of_reach_the_cache_knows_the_commit(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "hub" / "models--org--model"
    commit = "0123456789" * 4
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "snapshots" / commit / "config.json").write_text("{}")
    assert hub_module.pinned(spec()).revision == commit


def test_what_does_not_exist_is_left_to_the_check(
    hub: Hub, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    hub.push("org/model", model("bert-classification"))
    assert hub_module.pinned(spec("org/none")) == spec("org/none")
    assert hub_module.pinned(spec(revision="v7")) == spec(revision="v7")
    assert "out of reach" not in caplog.text


def test_an_adapter_keeps_its_revision(hub: Hub, tmp_path: Path) -> None:
    """Its base model is looked up by the same one."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    hub.push("org/model", tmp_path / "adapter")
    assert hub_module.pinned(spec()).revision is None


JOB = """
import json, sys
import apache_beam as beam
from support import sink
from pipelines_beam import TextClassification

texts, tokenizer = json.loads(sys.argv[1]), sys.argv[2] or None
p = beam.Pipeline('apache_beam.runners.portability.fn_api_runner.FnApiRunner')
transform = TextClassification("org/model", tokenizer=tokenizer)
p | beam.Create(texts) | transform | beam.Map(sink.collect)
print("built", flush=True)
sys.stdin.readline()
p.run().wait_until_finish()
print(json.dumps([[r.example, r.inference, r.model_id] for r in sink.collected]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["", "org/tokenizer"])
def test_workers_load_what_the_pipeline_was_built_with(
    tokenizer: str, model: Model, tmp_path: Path
) -> None:
    """Though the branch has moved on since."""
    first = model("bert-classification")
    second = tmp_path / "second"
    shutil.copytree(first, second)
    other = transformers.AutoModelForSequenceClassification.from_pretrained(second)
    other.classifier.weight.data *= -1
    other.save_pretrained(second)
    bare = tmp_path / "bare"
    bare.mkdir()
    for path in Path(first).iterdir():
        if not tokenizer or path.name in ("config.json", "model.safetensors"):
            shutil.copy(path, bare)
    with hubs.serving() as hub:
        hub.push("org/model", bare)
        hub.push("org/tokenizer", first)
        job = subprocess.Popen(
            [sys.executable, "-c", JOB, json.dumps(CORPUS[:9]), tokenizer],
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}:{TESTS}",
                "HF_ENDPOINT": hub.url,
                "HF_HOME": str(tmp_path / "home"),
                "HF_HUB_OFFLINE": "0",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert job.stdout is not None
        assert job.stdout.readline() == "built\n"
        hub.push("org/model", second)
        found = json.loads(job.communicate("\n", timeout=120)[0])
    pipe = transformers.pipeline("text-classification", first, device="cpu")
    moved = transformers.pipeline("text-classification", str(second), device="cpu")
    assert len(found) == 9
    for example, inference, model_id in found:
        assert model_id == "org/model"
        assert same(inference, pipe(example))
    assert any(not same(inference, moved(example)) for example, inference, _ in found)

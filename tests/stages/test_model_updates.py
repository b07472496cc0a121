"""Another version of a model takes over while a job runs."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
import torch
import transformers
from apache_beam.ml.inference.base import ModelMetadata
from apache_beam.ml.inference.utils import WatchFilePattern
from apache_beam.utils.timestamp import Timestamp
from support import sink
from support.comparing import same
from support.runs import RUNNER, bundle, windowed
from support.texts import CORPUS

from pipelines_beam import Record, TextClassification
from transforms.engine import registry
from transforms.options.spec import ModelSpec, Sharing, Spec
from transforms.stages.forward import ForwardFn
from transforms.stages.model_updates import ModelVersions, requested_model
from transforms.stages.postprocess import PostprocessFn
from transforms.stages.preprocess import PreprocessFn

Model = Callable[[str], str]


@pytest.fixture(scope="module")
def other(model: Model, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same architecture with other weights and other labels."""
    first = model("bert-classification")
    path = tmp_path_factory.mktemp("other")
    found = transformers.AutoModelForSequenceClassification.from_pretrained(first)
    torch.manual_seed(7)
    for weight in found.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    found.config.id2label = {i: f"new {i}" for i in range(found.config.num_labels)}
    found.save_pretrained(path)
    transformers.AutoTokenizer.from_pretrained(first).save_pretrained(path)
    return str(path)


def test_what_a_side_input_may_name() -> None:
    assert requested_model("org/model") == "org/model"
    assert requested_model(ModelMetadata("/models/7", "seven")) == "/models/7"
    assert requested_model(ModelMetadata("/models/7/model.safetensors", "seven")) == "/models/7"
    assert requested_model(ModelMetadata("", "")) is None
    assert requested_model(None) is None


@pytest.mark.parametrize("share", ["process", pytest.param("machine", marks=pytest.mark.slow)])
def test_a_version_takes_over_when_it_is_loaded(model: Model, other: str, share: str) -> None:
    first = model("bert-classification")
    transform = TextClassification(first)
    spec = Spec(
        model=ModelSpec(task="text-classification", source=first), sharing=Sharing(share=share)
    )
    preprocess = PreprocessFn(spec, False, transform.plan.binding, None)
    forward = ForwardFn(spec, False)
    postprocess = PostprocessFn(spec, False, transform.plan.binding, None)
    for fn in (preprocess, forward, postprocess):
        fn.setup()
    records = bundle(preprocess, CORPUS * 3)
    answered: list[Record] = []
    forward.start_bundle()
    end = time.monotonic() + 120
    submitted = 0
    while not answered or answered[-1].model_id != other:
        record = records[submitted % len(records)]
        submitted += 1
        copied = Record(record.element, record.example, list(record.chunks), record.counts)
        found = forward.process(copied, windowed(copied), ModelMetadata(other, "other"))
        answered += [windowed.value for windowed in found]
        assert time.monotonic() < end
        time.sleep(0.002)
    answered += [windowed.value for windowed in forward.finish_bundle()]
    forward.teardown()
    assert registry.running() == 0
    assert len(answered) == submitted
    ids = [record.model_id for record in answered]
    turn = ids.index(other)
    assert turn > 0
    assert ids == [first] * turn + [other] * (len(ids) - turn)
    oracles = {path: transformers.pipeline("text-classification", path) for path in (first, other)}
    for record in [*answered[:20], *answered[turn:][:20]]:
        (result,) = postprocess.process(record, windowed(record))
        assert result.model_id == record.model_id
        assert same(result.inference, oracles[result.model_id](result.example))


def test_rows_say_which_model_answered(model: Model, other: str) -> None:
    first = model("bert-classification")
    rows = [beam.Row(id=i, text=text) for i, text in enumerate(CORPUS)]
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        updates = p | "Updates" >> beam.Create([ModelMetadata(other, "other")])
        transform = TextClassification(first, input="text", model_metadata_pcoll=updates)
        p | beam.Create(rows, reshuffle=False) | transform | beam.Map(sink.collect)
    assert len(sink.collected) == len(CORPUS)
    oracles = {path: transformers.pipeline("text-classification", path) for path in (first, other)}
    for row in sink.collected:
        (expected,) = oracles[row.model_id](row.text)
        assert (row.label, row.score) == (expected["label"], pytest.approx(expected["score"], 1e-4))
    assert transform.schema(pa.schema([("text", pa.string())])).names[-1] == "model_id"


def test_a_version_that_cannot_be_loaded_is_left_out(
    model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = Spec(
        model=ModelSpec(task="text-classification", source=model("bert-classification")),
        sharing=Sharing(share="process"),
    )
    forward = ForwardFn(spec, False)
    forward.setup()
    forward.start_bundle()
    (tmp_path / "config.json").write_text("{}")
    with caplog.at_level(logging.ERROR):
        for update in (str(tmp_path / "missing"), str(tmp_path / "config.json")):
            end = time.monotonic() + 60
            before = len(caplog.records)
            while len(caplog.records) == before and time.monotonic() < end:
                forward._versions.request(requested_model(update))
                assert not forward._versions.due
                time.sleep(0.01)
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        f"{tmp_path / 'missing'} is not a model",
        f"{tmp_path} failed to load",
    ]
    forward.teardown()
    assert registry.running() == 0


def test_the_first_version_again_is_the_commit_that_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "acquire", lambda spec: (SimpleNamespace(dead=False), list))
    first = ModelSpec(task="text-classification", source="org/one", revision="a1b2c3")
    versions = ModelVersions(Spec(model=first))
    for model, revision in [("org/two", None), ("org/one", "a1b2c3"), ("org/three", None)]:
        versions.request(model)
        versions.swap()
        assert (versions.spec.model.source, versions.spec.model.revision) == (model, revision)


def test_updates_are_a_pcollection_or_a_pattern() -> None:
    updates = beam.Pipeline(RUNNER) | beam.Create([])
    options = {"model_metadata_pcoll": updates, "watch_model_pattern": "models/*/config.json"}
    with pytest.raises(ValueError, match="exclude each other"):
        TextClassification("org/model", **options)
    with pytest.raises(TypeError, match="must be a PCollection"):
        TextClassification("org/model", model_metadata_pcoll="models/*")


def test_the_newest_model_that_matches_answers(model: Callable[[str], str], tmp_path: Path) -> None:
    first = model("bert-classification")
    newer = shutil.copytree(first, tmp_path / "2")
    os.utime(newer / "config.json", (time.time() + 3600,) * 2)
    sink.collected.clear()
    with beam.Pipeline(RUNNER) as p:
        found = p | "Watch" >> WatchFilePattern(
            f"{tmp_path}/*/config.json", interval=10**7, stop_timestamp=Timestamp.now() + 1
        )
        task: Any = TextClassification(first, input="text", model_metadata_pcoll=found)
        rows = [beam.Row(text=text) for text in CORPUS * 40]
        p | beam.Create(rows, reshuffle=False) | task | beam.Map(sink.collect)
    assert len(sink.collected) == len(CORPUS) * 40
    assert {row.model_id for row in sink.collected} == {first, str(newer)}


def test_a_pattern_is_watched_with_beams_own_transform(model: Callable[[str], str]) -> None:
    p = beam.Pipeline(RUNNER)
    task: Any = TextClassification(
        model("bert-classification"), watch_model_pattern="models/*/config.json"
    )
    p | beam.Create(CORPUS, reshuffle=False) | task
    graph = p.to_runner_api().components
    (watch,) = [t for t in graph.transforms.values() if t.unique_name.endswith("/WatchModel")]
    (run,) = [t for t in graph.transforms.values() if t.unique_name.endswith("Forward/Run")]
    assert len(run.inputs) == 2
    # What comes in from the side goes through the watch, directly or by way of a view.
    made = {
        pcoll
        for t in graph.transforms.values()
        for pcoll in t.outputs.values()
        if t.unique_name.startswith(watch.unique_name)
    }
    assert made & set(run.inputs.values())

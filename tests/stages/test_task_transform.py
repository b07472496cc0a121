"""The transform of a task: names and values that are refused when it is created."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from pipelines_beam import (
    TextClassification,
    TokenClassification,
    pipeline,
)

Model = Callable[[str], str]
Run = Callable[..., list[Any]]


def test_an_unknown_task_names_the_likely_one() -> None:
    with pytest.raises(ValueError, match="Did you mean 'text-classification'"):
        pipeline("text-clasification")


def test_an_unknown_parameter_names_the_valid_ones(model: Model) -> None:
    with pytest.raises(TypeError, match=r"'top_n'.*Did you mean 'top_k'.*function_to_apply"):
        pipeline("text-classification", model("bert-classification"), top_n=2)


def test_a_missing_parameter_is_named(model: Model) -> None:
    with pytest.raises(TypeError, match="'candidate_labels' must be given"):
        pipeline("zero-shot-classification", model("bert-nli"))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("device", "gpu", "device must be"),
        ("dtype", "int8", "dtype must be one of auto, float32"),
        ("batch_size", 0, "batch_size must be a positive integer, got 0"),
        ("trust_remote_code", "yes", "trust_remote_code must be True or False"),
    ],
)
def test_options_are_checked(model: Model, option: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline("text-classification", model("bert-classification"), **{option: value})


def test_no_model_means_the_default_and_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"distilbert.*sst-2-english.*714eb0f"):
        pipeline("sentiment-analysis")


def test_a_missing_model_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        pipeline("text-classification", str(tmp_path / "nothing"))


def test_a_wrong_column_is_refused_when_the_pipeline_is_built(model: Model) -> None:
    rows = beam.Pipeline() | beam.Create([beam.Row(id=1, body="a")])
    with pytest.raises(ValueError, match=r"unknown column 'text'.*body"):
        rows | pipeline("text-classification", model("bert-classification"), input="text")


def test_a_column_is_not_overwritten(model: Model) -> None:
    rows = beam.Pipeline() | beam.Create([beam.Row(text="a", label="mine")])
    with pytest.raises(ValueError, match="have a column 'label' already"):
        rows | pipeline("text-classification", model("bert-classification"), input="text")


def test_an_empty_collection(model: Model, run: Run) -> None:
    assert run([], pipeline("text-classification", model("bert-classification"))) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("TextClassification", "text-classification"),
        ("text_classification", "text-classification"),
        ("Text-Classification", "text-classification"),
        ("TextClassificationPipeline", "text-classification"),
        ("QuestionAnswering", "question-answering"),
        ("question answering", "question-answering"),
        ("asr", "automatic-speech-recognition"),
        ("ASR", "automatic-speech-recognition"),
        ("sentiment", "text-classification"),
        ("NER", "ner"),
        ("tts", "text-to-audio"),
        ("zero-shot", "zero-shot-classification"),
        ("translte", "translation"),
        ("summarize", "summarization"),
    ],
)
def test_a_task_by_another_name(name: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"unknown task '{name}'. Did you mean '{meant}'"):
        pipeline(name, "a/model")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("modle", "Did you mean 'model'?"),
        ("batchSize", "Did you mean 'batch_size'?"),
        ("outptu", "Did you mean 'output'?"),
        ("truncate", "Did you mean 'truncation'?"),
        ("return_all_scores", "Did you mean top_k=None?"),
        ("torch_dtype", "Did you mean 'dtype'?"),
        ("topk", "Did you mean 'top_k'?"),
        ("use_auth_token", "Set the variable HF_TOKEN"),
        ("framework", "Leave it out"),
        ("xyzzy", "Valid"),
    ],
)
def test_a_parameter_by_another_name(name: str, hint: str) -> None:
    option: dict[str, Any] = {name: 1}
    with pytest.raises(TypeError) as raised:
        TextClassification("a/model", **option)
    message = str(raised.value)
    assert message.startswith(f"text-classification: unknown parameter '{name}'. {hint}")
    for valid in ("top_k", "model", "device", "dtype", "batch_size", "input", "output"):
        assert f" {valid}" in message
    assert len(message) < 800


def test_grouped_entities_are_an_aggregation_strategy() -> None:
    with pytest.raises(TypeError, match='Did you mean aggregation_strategy="simple"'):
        TokenClassification("a/model", grouped_entities=True)

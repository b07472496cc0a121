"""What `engine="auto"` stands for, and what is said where vLLM is missing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import apache_beam as beam
import pytest

from pipelines_beam import TextClassification, TextGeneration
from transforms.stages import engine_choice


@pytest.fixture
def with_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with vLLM and a GPU, as far as the choice asks."""
    monkeypatch.setattr(engine_choice, "is_installed", lambda name: name == "vllm")
    monkeypatch.setattr(engine_choice, "_has_gpu", lambda: True)
    monkeypatch.setattr(engine_choice, "_served", lambda names: names == ["LlamaForCausalLM"])


def chosen(transform: Any, caplog: pytest.LogCaptureFixture) -> tuple[str, str]:
    """The engine, and what the log says of it."""
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="transforms.stages.engine_choice"):
        engine: str = transform.plan.pinned.spec.model.engine
    return engine, " ".join(record.getMessage() for record in caplog.records)


@pytest.mark.usefixtures("with_vllm")
def test_vllm_is_taken_where_it_can_answer(
    model: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    transform = TextGeneration(model=model("llama-lm"), engine="auto", do_sample=False)
    engine, said = chosen(transform, caplog)
    assert engine == "vllm"
    assert "vLLM runs the model" in said


@pytest.mark.usefixtures("with_vllm")
@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("llama-lm", {"num_beams": 3}, "num_beams"),
        ("llama-lm", {"torch_compile": True}, "torch_compile is not for vLLM"),
        ("llama-lm", {"batch_tokens": 512}, "batch_tokens is not for vLLM"),
        ("llama-lm", {"share": "process"}, "share='process' is not for vLLM"),
        ("llama-lm", {"device": "cpu"}, "device is the CPU"),
        ("gpt2-lm", {}, "vLLM does not serve GPT2LMHeadModel"),
    ],
)
def test_the_log_says_why_it_is_not(
    name: str,
    options: dict[str, Any],
    reason: str,
    model: Callable[[str], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = {"engine_options": {"max_num_seqs": 8}, **options}
    engine, said = chosen(TextGeneration(model=model(name), engine="auto", **options), caplog)
    assert engine == "transformers"
    assert reason in said


def test_it_is_not_where_it_is_missing(
    model: Callable[[str], str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_choice, "is_installed", lambda name: False)
    generation = TextGeneration(model=model("llama-lm"), engine="auto")
    assert chosen(generation, caplog)[0] == "transformers"
    other = TextClassification(model=model("bert-classification"), engine="auto")
    engine, said = chosen(other, caplog)
    assert engine == "transformers"
    assert "does not answer text-classification" in said


def test_one_line_says_what_to_install(
    model: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transforms.batching.vllm_engine import arguments

    monkeypatch.setattr(arguments, "is_installed", lambda name: False)
    generation = TextGeneration(model=model("llama-lm"), engine="vllm")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pipelines-beam\[vllm\]'") as error:
        beam.Pipeline() | beam.Create(["a text"]) | generation
    assert "\n" not in str(error.value)

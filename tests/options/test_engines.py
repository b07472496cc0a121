"""The engine that runs a model, and options that would be ignored with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines_beam import TextClassification, TextGeneration
from transforms.options.engines import is_installed


@pytest.fixture
def llama(model: Callable[[str], str]) -> str:
    return model("llama-lm")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "vlm"}, "engine must be one of transformers, vllm, auto, got 'vlm'"),
        ({"engine_options": {"max_model_len": 9}}, "engine_options would be ignored"),
        ({"engine": "vllm", "engine_options": 3}, "engine_options must be a mapping, got 3"),
        ({"engine": "vllm", "torch_compile": True}, "torch_compile would be ignored"),
        ({"engine": "vllm", "trust_remote_code": True}, "trust_remote_code would be ignored"),
        ({"engine": "vllm", "batch_size": 8}, "batch_size is not for engine='vllm'"),
        ({"engine": "vllm", "share": "process"}, "share='process' is not for engine='vllm'"),
        ({"engine": "vllm", "device": "mps"}, "the number of a GPU, as 1 or 'cuda:1', for engine"),
        ({"engine": "vllm", "max_device_memory": "2GB"}, "max_device_memory is not for"),
        ({"engine": "vllm", "watch_model_pattern": "*"}, "watch_model_pattern is not for"),
    ],
)
def test_what_would_be_ignored_is_refused(llama: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="engine") as refused:
        TextGeneration(model=llama, **options)
    assert said in str(refused.value)


def test_a_task_that_vllm_does_not_answer_is_refused(model: Callable[[str], str]) -> None:
    with pytest.raises(ValueError, match="engine='vllm' is for text-generation, got text-class"):
        TextClassification(model=model("bert-classification"), engine="vllm")


def test_engines_of_different_options_are_not_shared(llama: str) -> None:
    specs = [
        TextGeneration(model=llama, engine="vllm", engine_options={"max_num_seqs": n}).spec
        for n in (8, 8, 16)
    ]
    one, same, other = (spec.model.identity for spec in specs)
    assert one == same != other


def test_a_folder_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_a_folder").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert not is_installed("only_a_folder")
    assert not is_installed("neither_that")
    assert is_installed("torch")

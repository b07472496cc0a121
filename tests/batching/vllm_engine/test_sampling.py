"""Parameters of generation in vLLM's words; none of it needs vLLM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from transforms.batching.vllm_engine.sampling import Sampling
from transforms.options.spec import ModelSpec
from transforms.pipelines.factory import weightless
from transforms.pipelines.requests import Request


@pytest.fixture
def pipe(model: Callable[[str], str]) -> Any:
    return weightless(ModelSpec(task="text-generation", source=model("llama-lm")))


def keywords(pipe: Any, request: Request = Request(), **parameters: Any) -> dict[str, Any]:  # noqa: B008
    return Sampling(pipe, parameters).keywords(request, prompt_tokens=7)


def test_without_sampling_the_best_token_is_taken(pipe: Any) -> None:
    found = keywords(pipe, do_sample=False, max_new_tokens=5)
    assert (found["temperature"], found["max_tokens"]) == (0.0, 5)
    assert "top_k" not in found


def test_tokens_are_drawn_with_the_defaults_of_transformers(pipe: Any) -> None:
    found = keywords(pipe, do_sample=True)
    assert (found["top_k"], found["top_p"], found["min_p"]) == (50, 1.0, 0.0)
    assert found["seed"] is None


def test_a_row_has_parameters_of_its_own(pipe: Any) -> None:
    own = Request(2**64 - 1, {"temperature": 0.3, "max_new_tokens": 2, "stop_strings": "."})
    found = keywords(pipe, own, do_sample=True, top_p=0.5)
    assert (found["temperature"], found["max_tokens"], found["top_p"]) == (0.3, 2, 0.5)
    assert found["stop"] == ["."]
    assert found["detokenize"]
    assert 0 <= found["seed"] < 2**63


def test_the_ends_are_those_of_the_pipeline(pipe: Any) -> None:
    assert keywords(pipe)["stop_token_ids"] == [pipe.model.generation_config.eos_token_id]
    assert keywords(pipe, eos_token_id=[9, 3])["stop_token_ids"] == [3, 9]
    assert keywords(pipe)["ignore_eos"]


def test_a_total_length_counts_the_prompt(pipe: Any) -> None:
    assert keywords(pipe, max_new_tokens=None, max_length=60)["max_tokens"] == 53
    with pytest.raises(ValueError, match="the prompt has 7 tokens, and max_length=3 counts them"):
        keywords(pipe, max_new_tokens=None, max_length=3)


def test_details_ask_for_the_probabilities(pipe: Any) -> None:
    assert keywords(pipe, details=True)["logprobs"] == 0
    assert keywords(pipe)["logprobs"] is None


@pytest.mark.parametrize(
    "parameters",
    [
        {"num_beams": 3},
        {"no_repeat_ngram_size": 2},
        {"bad_words_ids": [[4]]},
        {"min_length": 4},
        {"penalty_alpha": 0.6},
        {"do_sample": True, "typical_p": 0.5},
        {"response_format": {"type": "object"}},
        {"output_scores": True, "return_dict_in_generate": True},
        {"suppress_tokens": [4]},
        {"guidance_scale": 1.5},
        {"custom_generate": "organisation/name"},
        {"num_return_sequences": 3, "do_sample": False},
    ],
)
def test_what_vllm_does_not_have_is_refused_by_name(pipe: Any, parameters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="engine='vllm'") as refused:
        Sampling(pipe, parameters)
    assert any(name in str(refused.value) for name in parameters)


@pytest.mark.parametrize(
    "parameters", [{"num_beams": 1}, {"use_cache": True}, {"typical_p": 0.5, "do_sample": False}]
)
def test_what_changes_nothing_is_taken(pipe: Any, parameters: dict[str, Any]) -> None:
    assert Sampling(pipe, parameters)

"""The keywords of `generate` itself, which are no fields of a GenerationConfig."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from support.texts import CORPUS
from transformers import LogitsProcessor, LogitsProcessorList

from pipelines_beam import pipeline
from transforms.tasks.task import generation_keywords

Model = Callable[[str], str]
Run = Callable[..., list[Any]]
NEW: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False}


class Only(LogitsProcessor):  # type: ignore[misc]
    """Lets a model say one token."""

    def __init__(self, token: int) -> None:
        self.token = token

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        found = torch.full_like(scores, -torch.inf)
        found[:, self.token] = 0
        return found


def at_once(input_ids: Any, scores: Any) -> Any:
    """A criterion that is met after one token."""
    return torch.ones(len(input_ids), dtype=torch.bool)


OWN: dict[str, dict[str, Any]] = {
    "prefix_allowed_tokens_fn": {"prefix_allowed_tokens_fn": lambda row, ids: [9, 10, 11 + row]},
    "logits_processor": {"logits_processor": LogitsProcessorList([Only(12)])},
    "stopping_criteria": {"stopping_criteria": [at_once]},
    "negative_prompt_ids": {"negative_prompt_ids": torch.tensor([[3]]), "guidance_scale": 1.5},
}


@pytest.mark.parametrize("own", OWN.values(), ids=OWN.keys())
@pytest.mark.parametrize("share", ["process", pytest.param("machine", marks=pytest.mark.slow)])
def test_keywords_of_generate_itself(
    own: dict[str, Any], share: str, model: Model, run: Run
) -> None:
    directory, prompts = model("llama-lm"), CORPUS[:4]
    stock = transformers.pipeline("text-generation", directory, device="cpu")
    transform = pipeline("text-generation", directory, share=share, **NEW, **own)
    found = {each.example: each.inference for each in run(prompts, transform)}
    assert found == {prompt: stock(prompt, **NEW, **own) for prompt in prompts}


def test_the_task_of_encoder_decoders_takes_them_too(model: Model, run: Run) -> None:
    own = OWN["logits_processor"]
    transform = pipeline("summarization", model("bart-seq2seq"), **NEW, **own)
    (found,) = run(CORPUS[:1], transform)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model("bart-seq2seq"))
    answer = tokenizer.decode([12] * 4, skip_special_tokens=True)
    assert found.inference[0]["summary_text"].strip() == answer.strip()


def test_a_streamer_is_refused_with_words(model: Model) -> None:
    with pytest.raises(TypeError, match=r"unknown parameter 'streamer'. Leave it out"):
        pipeline("text-generation", model("llama-lm"), streamer=print)
    assert not {"self", "inputs", "kwargs"} & generation_keywords()

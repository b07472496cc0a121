"""The trial of generation on a tiny model: what it refuses, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from transforms.pipelines.generation_trial import try_generation


def test_a_refused_parameter_is_named_among_others() -> None:
    asked = {"suppress_tokens": [1], "bad_words_ids": "bad", "eos_token_id": 3}
    with pytest.raises(ValueError, match=r"bad_words_ids cannot be 'bad'.*non-empty list"):
        try_generation(asked, 10)


def test_tokens_beyond_the_vocabulary() -> None:
    given = {"sequence_bias": {(12,): 1.0}}
    with pytest.raises(ValueError, match=r"sequence_bias cannot be .*12"):
        try_generation(given, 10)
    try_generation(given, 20)


@pytest.mark.parametrize(
    "asked",
    [
        {"eos_token_id": [5, 6], "pad_token_id": 5},
        {"sequence_bias": {(5,): 2.0}},
        {"exponential_decay_length_penalty": (15, 1.6)},
        {"min_new_tokens": 50},
        {"eta_cutoff": 0.5, "do_sample": True},
        {"encoder_no_repeat_ngram_size": 2},
        {"logits_processor": "left to generate itself"},
    ],
    ids=str,
)
def test_what_is_taken(asked: dict[str, Any]) -> None:
    try_generation(asked, 10)


def test_neither_random_numbers_nor_values_change() -> None:
    asked: dict[str, Any] = {"bad_words_ids": [[5]], "epsilon_cutoff": 0.1}
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    try_generation(asked, 10)
    assert torch.rand(1) == expected
    assert asked == {"bad_words_ids": [[5]], "epsilon_cutoff": 0.1}

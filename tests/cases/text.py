"""The cases of the text tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from support.texts import CORPUS

from cases.case import Case

TEXTS = [*CORPUS[::3], "", CORPUS[0]]
LONG = " ".join(CORPUS)
CHATS: list[Any] = [[{"role": "user", "content": text}] for text in CORPUS[:6]] + [
    [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "The"}]
]
TABLES = [
    {"table": {"name": names, "year": years}, "query": query}
    for names, years, query in (
        (["Ada", "Alan", "Grace"], ["1815", "1912", "1906"], "When was Ada born?"),
        (["Berlin"], ["1237"], "Which city is the oldest of all that are in this table?"),
        (["a", "b", "c", "d"], ["1", "2", "3", "4"], "How many?"),
    )
]
SCORED = {"return_dict_in_generate": True, "output_scores": True}
GREEDY = {"do_sample": False, "max_new_tokens": 8}


@dataclass(frozen=True, eq=False)
class TextCase(Case):
    """Asked about all texts, where nothing else is said."""

    inputs: Sequence[Any] = tuple(TEXTS)

    # transformers says so of byte-level tokenizers, to us as to its own pipeline.
    marks: ClassVar[Sequence[Any]] = (
        pytest.mark.filterwarnings("ignore:Tokenizer does not support real words"),
    )


def _masked(mask: str) -> tuple[str, ...]:
    return (*tuple(f"{text} {mask}." for text in CORPUS[::4]), f"{mask} and {mask}")


CASES = [
    TextCase("text-classification", "bert-classification"),
    TextCase("text-classification", "bert-classification", {"top_k": None}),
    TextCase("sentiment-analysis", "distilbert-classification", {"top_k": 1}),
    TextCase("text-classification", "bert-classification", {"truncation": True}, (*TEXTS, LONG)),
    TextCase("text-classification", "bert-classification", {"padding": "max_length"}),
    TextCase(
        "text-classification",
        "bert-classification",
        inputs=tuple(
            {"text": a, "text_pair": b} for a, b in zip(CORPUS[:6], CORPUS[6:12], strict=True)
        ),
    ),
    TextCase("text-classification", "roberta-classification", {"top_k": None}),
    TextCase("text-classification", "roberta-classification", {"function_to_apply": "none"}),
    TextCase("text-classification", "bert-regression"),
    TextCase("text-classification", "gpt2-classification", inputs=tuple(TEXTS[:-2])),
    TextCase("ner", "bert-ner"),
    TextCase("token-classification", "bert-ner", {"aggregation_strategy": "simple"}),
    TextCase("token-classification", "roberta-ner", {"aggregation_strategy": "average"}),
    TextCase(
        "token-classification",
        "bert-ner",
        {"aggregation_strategy": "first", "stride": 8},
        (*TEXTS, LONG),
    ),
    TextCase(
        "token-classification",
        "roberta-ner",
        {"is_split_into_words": True, "ignore_labels": []},
        tuple(text.split() for text in CORPUS[:9]),
    ),
    TextCase("fill-mask", "bert-mlm", inputs=_masked("[MASK]")),
    TextCase("fill-mask", "roberta-mlm", {"top_k": 2}, _masked("<mask>")),
    TextCase(
        "fill-mask",
        "bert-mlm",
        {"targets": ["the", "paris", "city"]},
        (*_masked("[MASK]"), "[MASK] [MASK] met [MASK]"),
    ),
    TextCase("text-generation", "gpt2-lm", GREEDY, tuple(TEXTS[:-2])),
    TextCase("text-generation", "llama-lm", GREEDY, tuple(TEXTS[:-2])),
    TextCase(
        "text-generation", "llama-lm", {**GREEDY, "return_full_text": False}, tuple(TEXTS[:-2])
    ),
    TextCase("text-generation", "llama-lm", {**GREEDY, "return_tensors": True}, tuple(TEXTS[:-2])),
    TextCase(
        "text-generation",
        "gpt2-lm",
        {**GREEDY, "repetition_penalty": 1.5},
        tuple(TEXTS[:-2]),
        largest=2,
    ),
    TextCase(
        "text-generation", "llama-lm", {"do_sample": False, "max_length": 60}, tuple(CORPUS[:8])
    ),
    TextCase(
        "text-generation",
        "llama-lm",
        {**GREEDY, "num_beams": 2, "num_return_sequences": 2},
        tuple(CORPUS[:6]),
    ),
    TextCase("text-generation", "llama-lm", {**GREEDY, "stop_sequence": "e"}, tuple(CORPUS[:8])),
    TextCase(
        "text-generation",
        "llama-lm",
        {**GREEDY, **SCORED, "stop_sequence": "e"},
        tuple(CORPUS[:8]),
        largest=0,
    ),
    TextCase("text-generation", "llama-lm", GREEDY, tuple(CHATS)),
    TextCase("feature-extraction", "bert-encoder"),
    TextCase("feature-extraction", "distilbert-encoder", {"truncation": True}),
    TextCase("feature-extraction", "gpt2-encoder", inputs=tuple(TEXTS[:-2])),
    TextCase("feature-extraction", "bart-encoder"),
    TextCase(
        "zero-shot-classification",
        "bert-nli",
        {"candidate_labels": ["sport", "home"]},
        tuple(CORPUS[::4]),
    ),
    TextCase(
        "zero-shot-classification",
        "bart-nli",
        {
            "candidate_labels": "one, two words, a rather longer label",
            "hypothesis_template": "It is about {}.",
            "multi_label": True,
        },
        tuple(CORPUS[::4]),
    ),
    TextCase("table-question-answering", "tapas-qa", inputs=tuple(TABLES)),
    TextCase("table-question-answering", "tapas-qa-plain", inputs=tuple(TABLES)),
    TextCase("table-question-answering", "tapex-qa", inputs=tuple(TABLES)),
]

"""The tokens of many texts are those of a tokenizer's call, or its call is left to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.models import text as models
from support.texts import CORPUS

from transforms.pipelines.token_columns import TokenColumns, has_usual_call, tokenized

TEXTS = [
    *CORPUS,
    "x" * 3000,
    "à la \uff46\uff55\uff4c\uff4c width",
    "<s> a [SEP] </s>",
    "日本語 \U0001f600",
    " a ",
]
TOKENIZERS: dict[str, Callable[[Path], Any]] = {
    "bert": models.bert_tokenizer,
    "gpt2": models.gpt2_tokenizer,
    "roberta": models.roberta_tokenizer,
    "llama": models.llama_tokenizer,
    "t5": models.t5_tokenizer,
    "mbart": models.mbart_tokenizer,
    "other types": lambda path: _of_other_types(models.bert_tokenizer(path)),
}
KEYWORDS: list[dict[str, Any]] = [
    {},
    {"truncation": True, "max_length": 7, "padding": False},
    {"add_special_tokens": False, "verbose": False},
    {"truncation": "only_first", "max_length": 5, "split_special_tokens": True},
    {"return_token_type_ids": True, "return_attention_mask": False},
]


def _of_other_types(tokenizer: Any) -> Any:
    """With a type of its own for the last token, as XLNet has."""
    from tokenizers import processors

    special = [("[CLS]", tokenizer.cls_token_id), ("[SEP]", tokenizer.sep_token_id)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:1 [SEP]:2", special_tokens=special
    )
    return tokenizer


@pytest.mark.parametrize("keywords", KEYWORDS, ids=str)
@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokens_are_those_of_the_call(name: str, keywords: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = TOKENIZERS[name](tmp_path)
    expected = TokenColumns.of(tokenizer(TEXTS, **keywords))
    tokenizer(TEXTS, truncation=True, max_length=3)  # leaves other settings behind
    assert has_usual_call(tokenizer)
    found = tokenized(tokenizer, tokenizer.__call__, TEXTS, keywords)
    assert found is not None
    assert expected is not None
    assert found.lengths == expected.lengths
    assert list(found.arrays) == list(expected.arrays)
    for name, array in expected.arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)


@pytest.mark.parametrize(
    "keywords",
    [
        {"padding": "max_length", "max_length": 9},
        {"return_offsets_mapping": True},
        {"return_special_tokens_mask": True},
        {"stride": 2, "truncation": True, "max_length": 9},
    ],
    ids=str,
)
def test_other_calls_are_left_to_the_tokenizer(keywords: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = models.bert_tokenizer(tmp_path)
    assert tokenized(tokenizer, tokenizer.__call__, TEXTS, keywords) is None


def test_a_call_of_its_own_shows(tmp_path: Path) -> None:
    tokenizer = models.bert_tokenizer(tmp_path)

    def reversed_call(texts: list[str], **keywords: Any) -> Any:
        return tokenizer([text[::-1] for text in texts], **keywords)

    assert tokenized(tokenizer, reversed_call, TEXTS, {}) is None
    tokenizer.__class__ = type("Own", (type(tokenizer),), {"__call__": reversed_call})
    assert not has_usual_call(tokenizer)

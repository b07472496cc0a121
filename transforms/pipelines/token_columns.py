"""The tokens of many texts as a few arrays, past the lists and offsets that nobody reads.

A fast tokenizer's call makes Python lists of each text's offsets, masks and types. Its Rust
library is asked for the tokens alone here, which takes a quarter less time per text.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from transformers import BatchEncoding, PreTrainedTokenizerFast

from ..engine.blocks import Array

#: The methods that make a call's result: with one of its own, a tokenizer may do something else.
_METHODS = ("__call__", "_encode_plus", "_convert_encoding", "set_truncation_and_padding")
#: The keywords of a call that decide nothing but the tokens, their types and their mask.
_KEYWORDS = frozenset(
    {"add_special_tokens", "max_length", "padding", "return_attention_mask"}
    | {"return_token_type_ids", "split_special_tokens", "truncation", "verbose"}
)
_NO_PADDING = (None, False, "do_not_pad")
_FEATURES = frozenset({"input_ids", "token_type_ids", "attention_mask"})


@dataclass(frozen=True)
class TokenColumns:
    """The tokens of texts, joined: each feature has as many positions for a text."""

    #: By name of the feature: (tokens of all texts, ...).
    arrays: Mapping[str, Array]
    #: The number of tokens of each text.
    lengths: list[int]

    @classmethod
    def of(cls, encoded: BatchEncoding) -> Self | None:
        """The encoding of a list of texts; None if a feature has other lengths."""
        lengths = [len(encoding) for encoding in encoded.encodings]
        if not all(list(map(len, rows)) == lengths for rows in encoded.data.values()):
            return None
        return cls({name: _joined(rows) for name, rows in encoded.data.items()}, lengths)


def tokenized(
    tokenizer: Any,
    tokenize: Callable[..., BatchEncoding],
    texts: list[str],
    keywords: Mapping[str, Any],
) -> TokenColumns | None:
    """What a call of the tokenizer gives for texts; None where it has to be called for that.

    Args:
      tokenizer: a fast one with the usual call.
      tokenize: its own call.
      texts: one or more.
      keywords: of the call, without `return_tensors`.

    """
    if not keywords.keys() <= _KEYWORDS or keywords.get("padding") not in _NO_PADDING:
        return None
    first = tokenize(texts[:1], **keywords)  # also tells the library how to truncate
    if not first.keys() <= _FEATURES:
        return None
    special = keywords.get("add_special_tokens", True)
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=special)
    rows = [encoding.ids for encoding in encodings]
    lengths = list(map(len, rows))
    of_feature: dict[str, Callable[[], Array]] = {
        "input_ids": lambda: _joined(rows),
        "token_type_ids": lambda: _joined([encoding.type_ids for encoding in encodings]),
        "attention_mask": lambda: np.ones(sum(lengths), np.int64),
    }
    arrays = {name: of_feature[name]() for name in first}
    if any(arrays[name][: lengths[0]].tolist() != values for name, (values,) in first.items()):
        return None
    return TokenColumns(arrays, lengths)


def has_usual_call(tokenizer: Any) -> bool:
    """Whether a tokenizer's call is that of all fast ones."""
    own = type(tokenizer)
    return all(getattr(own, name) is getattr(PreTrainedTokenizerFast, name) for name in _METHODS)


def _joined(rows: Sequence[Sequence[Any]]) -> Array:
    return np.array(list(itertools.chain.from_iterable(rows)))

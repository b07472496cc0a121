"""Tokenizing many texts in one call where a pipeline asks for them one by one.

A fast tokenizer takes half the time per text when it is given many. A pipeline's `preprocess`
tokenizes one; so the tokenizer is called ahead with what the next texts will ask for, and hands
out the parts. What was prepared is used only for exactly the call it was prepared for.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchEncoding, PreTrainedTokenizerBase

from ..engine.blocks import Array, Block, Field, Layout, Row
from ..engine.errors import contained

#: Keywords with which a text's tokens depend on its neighbours, or the result has other rows.
_UNSAFE = ("return_overflowing_tokens", "text_pair", "text_target", "is_split_into_words")

#: Keywords of other types may have changed since, or do not say whether they are equal.
_PLAIN = frozenset((bool, int, float, str, type(None)))


#: Functions that do nothing to a text but call the tokenizer, unless that gives no tokens.
_TOKENIZE = frozenset(
    {
        "transformers.pipelines.text_classification.TextClassificationPipeline.preprocess",
        "transformers.pipelines.feature_extraction.FeatureExtractionPipeline.preprocess",
        f"{__package__}.classes.embedding.FeatureExtractionPipeline.preprocess",
    }
)


def prefetching(pipe: Any) -> Prefetch:
    """Make the pipeline's tokenizer prefetch, if it can."""
    tokenizer = getattr(pipe, "tokenizer", None)
    if not isinstance(tokenizer, PreTrainedTokenizerBase) or not tokenizer.is_fast:
        return Prefetch()
    preprocess: Any = getattr(type(pipe), "preprocess", prefetching)
    return _Prefetch(tokenizer, f"{preprocess.__module__}.{preprocess.__qualname__}" in _TOKENIZE)


class Prefetch:
    """A tokenizer that does not prefetch."""

    def __init__(self) -> None:
        #: What `preprocess` would give for texts to come, where it need not be called for them.
        self.features: dict[str, Any] = {}

    def prefetch(self, texts: Sequence[str], as_rows: bool = False) -> None:
        """Tokenize what preprocess is about to ask for.

        With `as_rows`, the `features` are rows of a block.
        """

    def learn(self, features: Any) -> None:
        """Take note of what preprocess has given for a text."""


class _Prefetch(Prefetch):
    """A tokenizer's calls for one text, answered from one call for many.

    Args:
      tokenizer: the pipeline's, whose class is replaced.
      tokenizes: whether `preprocess` is one of _TOKENIZE.

    """

    def __init__(self, tokenizer: Any, tokenizes: bool) -> None:
        super().__init__()
        cls = type(tokenizer)
        self._tokenize = cls.__call__.__get__(tokenizer)
        self._tokenizes = tokenizes
        #: text -> (the encoding of many, which of them)
        self._found: dict[str, tuple[BatchEncoding, int]] = {}
        #: The keywords with which preprocess last asked for one text.
        self._asked: dict[str, Any] | None = None
        #: What it was given, and the names in it.
        self._given: tuple[Any, frozenset[str]] = (None, frozenset())
        #: Whether preprocess has passed on what it was given, as it is.
        self._passes_on = False

        def __call__(_: Any, *args: Any, **keywords: Any) -> Any:  # noqa: N807
            return self._call(*args, **keywords)

        members = {"__call__": __call__, "__module__": cls.__module__}
        tokenizer.__class__ = type(cls.__name__, (cls,), members)

    def prefetch(self, texts: Sequence[str], as_rows: bool = False) -> None:
        """Tokenize what preprocess is about to ask for."""
        self._found, self.features = {}, {}
        if self._asked is None or len(texts) < 2 or not _safe(self._asked):
            return
        keywords = {k: v for k, v in self._asked.items() if k != "return_tensors"}
        try:
            with contained:
                encoded = self._tokenize(list(texts), **keywords)
                if self._passes_on:
                    self.features = _features(texts, encoded, as_rows)
        except Exception:  # one of them cannot be tokenized: each is then asked for alone
            return
        if len(self.features) < len(texts):
            self._found = {text: (encoded, i) for i, text in enumerate(texts)}

    def learn(self, features: Any) -> None:
        """Take note of what preprocess has given for a text."""
        given, names = self._given
        self._passes_on = self._tokenizes and features is given and features.keys() == names

    def _call(self, text: Any = None, *args: Any, **keywords: Any) -> Any:
        if type(text) is not str or args or keywords.get("return_tensors") != "pt":
            return self._tokenize(text, *args, **keywords)
        if not _same(keywords, self._asked):
            self._found, self.features, self._asked, self._passes_on = {}, {}, keywords, False
        found = self._found.get(text)
        if found is not None and found[0].encodings[found[1]].ids:
            encoding = _row(*found)
        else:
            encoding = self._tokenize(text, **keywords)
        self._given = (encoding, frozenset(encoding))
        return encoding


def _same(keywords: dict[str, Any], others: dict[str, Any] | None) -> bool:
    """Whether a tokenizer is asked for the same; 1 and True are not the same to all of them."""
    if others is None or keywords.keys() != others.keys():
        return False
    for name, value in keywords.items():
        other = others[name]
        if type(value) is not type(other) or type(value) not in _PLAIN or value != other:
            return False
    return True


def _safe(keywords: dict[str, Any]) -> bool:
    if not all(type(value) in _PLAIN for value in keywords.values()):
        return False
    if any(keywords.get(name) for name in _UNSAFE):
        return False
    return keywords.get("padding") in (None, False, "max_length", "do_not_pad")


def _row(encoded: BatchEncoding, i: int) -> BatchEncoding:
    """The encoding of text i alone, tensors of shape (1, tokens, …)."""
    data = {name: torch.from_numpy(np.array([rows[i]])) for name, rows in encoded.data.items()}
    return BatchEncoding(data, encoding=[encoded.encodings[i]])


def _features(texts: Sequence[str], encoded: BatchEncoding, as_rows: bool) -> dict[str, Any]:
    """The encodings of texts as `_row` gives them, as far as they have tokens."""
    lengths = [len(encoding) for encoding in encoded.encodings]
    columns = encoded.data.values()
    if not all(list(map(len, rows)) == lengths for rows in columns):
        return {}
    joined = [np.array(list(itertools.chain.from_iterable(rows))) for rows in columns]
    make = _rows if as_rows else _encodings
    found = make(list(encoded.data), joined, lengths)
    each = zip(texts, found, lengths, strict=True)
    return {text: features for text, features, length in each if length}


def _rows(names: Sequence[str], joined: list[Array], lengths: Sequence[int]) -> list[Row]:
    """The rows of a block."""
    fields = tuple(
        Field(name, torch.from_numpy(array).dtype, array.shape[1:])
        for name, array in zip(names, joined, strict=True)
    )
    starts = [0, *itertools.accumulate(lengths)]
    return Block(Layout(BatchEncoding, fields), [starts] * len(names), joined).rows()


def _encodings(
    names: Sequence[str], joined: list[Array], lengths: list[int]
) -> list[BatchEncoding]:
    """Encodings, whose tensors are parts of arrays that none of them shares with another."""
    columns = [torch.split(torch.from_numpy(each).unsqueeze(0), lengths, 1) for each in joined]
    rows = zip(*columns, strict=True)
    return [_encoding(dict(zip(names, tensors, strict=True))) for tensors in rows]


_EMPTY = vars(BatchEncoding({}))


def _encoding(data: dict[str, torch.Tensor]) -> BatchEncoding:
    """BatchEncoding(data) in a fifth of the time."""
    encoding = BatchEncoding.__new__(BatchEncoding)
    vars(encoding).update(_EMPTY)
    encoding.data = data
    return encoding

"""The spans of a context that may be the answer to a question: which are best, and what they say.

Token positions travel as small arrays: postprocess only compares numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]
Spans = NDArray[np.int32]

#: Whitespace as SQuAD's own scripts split words at it.
WORD = re.compile("[^ \t\r\n\u202f]+")


class Answers:
    """The answers of one context, equal texts added up.

    `whole_words`: spans end at the last character of a word (and of the space behind it) rather
    than after it, and equal texts stay apart: so it was with tokenizers written in Python.
    """

    def __init__(self, context: str, whole_words: bool) -> None:
        self.found: list[dict[str, Any]] = []
        self._context = context
        self._whole_words = whole_words
        self._by_text: dict[str, dict[str, Any]] = {}

    def add(self, start: int, end: int, score: float) -> None:
        """Count one span in."""
        if self._whole_words:
            if start >= 0:  # not the special token of unanswerable questions
                text = " ".join(WORD.findall(self._context[start : end + 1]))
                self.found.append({"score": score, "start": start, "end": end, "answer": text})
            return
        text = self._context[start:end]
        known = self._by_text.setdefault(text.lower(), {"score": 0.0})
        known["score"] += score
        if len(known) == 1:
            known.update(start=start, end=end, answer=text)
            self.found.append(known)


def best_spans(
    start: Floats, end: Floats, allowed: Bools, count: int, max_answer_len: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The most probable of all spans of at most `max_answer_len` tokens, best first.

    start, end: (n,) probabilities that an answer begins, ends at a token. Returns the first
    tokens, the last tokens and the scores of at most `count` spans between allowed tokens.
    """
    size = len(start)
    width = min(max_answer_len, size)
    # Only the band of the (n, n) products that holds such spans: row i, column j is i to i + j.
    ends = sliding_window_view(np.pad(end, (0, width - 1)), width)
    scores = start[:, None] * ends
    if count > 1 and np.count_nonzero(scores) < count:
        # Spans without probability fill up the answers: which ones, the whole table decides.
        width = size
        scores = np.tril(np.triu(np.outer(start, end)), max_answer_len - 1)
        chosen = largest(scores.ravel(), count)
        firsts, lasts = chosen // size, chosen % size
    else:
        chosen = largest(scores.ravel(), count)
        firsts, lasts = chosen // width, chosen // width + chosen % width
    possible = allowed.copy()
    possible[0] = True
    kept = possible[firsts] & possible[lasts]
    return firsts[kept], lasts[kept], scores.ravel()[chosen][kept]


def largest(values: Floats, count: int) -> NDArray[np.intp]:
    """Positions of the `count` largest values (n,), descending; all of them if n is less."""
    if count == 1:
        return np.array([np.argmax(values)])
    if len(values) <= count:
        return np.argsort(-values)
    chosen: NDArray[np.intp] = np.argpartition(-values, count)[:count]
    return chosen[np.argsort(-values[chosen])]


def word_spans(word_ids: Iterable[int | None], inside: Bools, characters: Spans) -> Spans:
    """For each token the characters of its word: (n, 2), -1 where there is no word.

    word_ids: the number of each token's word; inside: (n,) which tokens are of the context;
    characters: (n, 2) the span of each token.
    """
    words = np.array([-1 if word is None else word for word in word_ids])
    # The last row is for tokens without a word, which the number -1 finds.
    spans = np.full((words.max() + 2, 2), -1, dtype=np.int32)
    tokens = np.flatnonzero(inside & (words >= 0))
    # Of several assignments to one row the last one stays: a word's first token, its last token.
    spans[words[tokens[::-1]], 0] = characters[tokens[::-1], 0]
    spans[words[tokens], 1] = characters[tokens, 1]
    found: Spans = spans[words]
    return found

"""Grammars of generated texts: which tokens may come next, by llguidance."""

from __future__ import annotations

import functools
import threading
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..options.shown import cut

_MISSING = (
    "response_format needs the package llguidance: pip install 'pipelines-beam[structured]', here "
    "and on the workers"
)
#: No space between values, colons and commas: a model could go on with spaces for ever.
_COMPACT = {"whitespace_flexible": False}


class Grammar:
    """The form of an answer, in the tokens of one model.

    Args:
      form: a JSON schema, or a regular expression.
      tokenizer: the model's.
      vocabulary: how many tokens the model has scores for.
      ends: the tokens that end an answer.

    Raises:
      ModuleNotFoundError: llguidance is not installed.
      ValueError: the form is none that it knows, or no text has it; or the tokenizer is one that
        it cannot read: a slow one, or one of unigrams, as T5 has.

    """

    def __init__(
        self, form: Mapping[str, Any] | str, tokenizer: Any, vocabulary: int, ends: Collection[int]
    ) -> None:
        try:
            from llguidance import LLMatcher
        except ModuleNotFoundError:
            raise ModuleNotFoundError(_MISSING) from None
        self._matcher = LLMatcher
        self._tokenizer = _tokenizer(tokenizer, vocabulary, tuple(sorted(ends)))
        self._vocabulary = vocabulary
        #: Those that are no part of an answer's text.
        self.special_tokens = frozenset[int](tokenizer.all_special_ids)
        if isinstance(form, str):
            self._text: str = LLMatcher.grammar_from_regex(form)
        else:
            self._text = LLMatcher.grammar_from_json_schema(form, overrides=_COMPACT)
        failed, messages = LLMatcher.validate_grammar_with_warnings(self._text, self._tokenizer)
        if failed:
            raise ValueError(f"response_format cannot be met: {cut(messages[0])}")

    def matcher(self) -> Matcher:
        """What follows the tokens of one answer."""
        return Matcher(self._matcher(self._tokenizer, self._text, log_level=0), self._vocabulary)


class Matcher:
    """The tokens of one answer so far."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        self._matcher = matcher
        self._vocabulary = vocabulary

    def allowed(self) -> np.ndarray[Any, Any]:
        """Whether each token may come next: (tokens,), bool."""
        bias = np.frombuffer(self._matcher.compute_logit_bias(), np.uint8)
        allowed: np.ndarray[Any, Any] = bias[: self._vocabulary] != 0
        return allowed

    def add(self, token: int) -> None:
        """The next token. Raises RuntimeError for one that may not come next."""
        if not self._matcher.consume_token(token):
            raise RuntimeError(f"the grammar failed: {self._matcher.get_error()}")

    @property
    def is_whole(self) -> bool:
        """Whether nothing can follow."""
        return bool(self._matcher.is_stopped())

    @property
    def has_form(self) -> bool:
        """Whether the answer has the form, if it ends here."""
        return bool(self._matcher.is_accepting())


_lock = threading.Lock()


def _tokenizer(tokenizer: Any, vocabulary: int, ends: tuple[int, ...]) -> Any:
    if not getattr(tokenizer, "is_fast", False):
        raise ValueError(
            f"response_format needs a fast tokenizer, and the model has {type(tokenizer).__name__}"
        )
    try:
        with _lock:
            return _compiled(tokenizer.backend_tokenizer.to_str(), vocabulary, ends)
    except ValueError as error:
        raise ValueError(
            f"response_format needs a tokenizer that llguidance reads, and the model has "
            f"{type(tokenizer).__name__}: {error}"
        ) from error


@functools.lru_cache(4)
def _compiled(serialized: str, vocabulary: int, ends: tuple[int, ...]) -> Any:
    from llguidance import LLTokenizer

    # It refuses an empty list; without tokens that end an answer, only a whole one ends.
    return LLTokenizer(serialized, n_vocab=vocabulary, eos_token=list(ends) or None)

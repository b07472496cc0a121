"""Generation in which each row of a batch has parameters, random numbers and an end of its own.

`generate` is asked for greedy answers, and its last logits processor chooses each row's token: the
best one, or one that is drawn with the random numbers of that row. So a row's answer does not
depend on the rows beside it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
import transformers
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation.stopping_criteria import StopStringCriteria

from .grammar import Grammar, Matcher
from .requests import Answer, GeneratedSequence, Request

#: How a row draws: the parameters of _WARPERS.
Drawing: TypeAlias = tuple[Any, ...]
#: What `generate` makes of a parameter where it draws, in its order, with the value that changes
#: nothing.
_WARPERS: tuple[tuple[str, str, Any], ...] = (
    ("temperature", "TemperatureLogitsWarper", 1.0),
    ("top_h", "TopHLogitsWarper", None),
    ("top_k", "TopKLogitsWarper", 0),
    ("top_p", "TopPLogitsWarper", 1.0),
    ("min_p", "MinPLogitsWarper", None),
    ("typical_p", "TypicalLogitsWarper", 1.0),
    ("epsilon_cutoff", "EpsilonLogitsWarper", 0.0),
    ("eta_cutoff", "EtaLogitsWarper", 0.0),
)
#: Keywords with which `generate` takes the best token, and does not warn of those for drawing.
_GREEDY = {"do_sample": False, "temperature": 1.0, "top_p": 1.0, "top_k": 50}


@dataclass
class _Row:
    """One row of a batch that is being generated."""

    request: Request
    #: None: it takes the best token.
    drawing: Drawing | None
    numbers: random.Random
    ends: frozenset[int]
    #: The most tokens; None: as many as `generate` makes.
    most: int | None
    #: Those of which the last token is one, if it has as many as it may.
    last: frozenset[int]
    stops: tuple[str, ...]
    matcher: Matcher | None
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    #: Why it has ended.
    finished: str | None = None
    #: Whether it has a token that its form does not allow, other than special ones.
    is_broken: bool = False

    def add(self, token: int, logprob: float) -> None:
        """Take the next token."""
        self.tokens.append(token)
        self.logprob += logprob
        if self.matcher is not None:
            self.matcher.add(token)
        if token in self.ends or (self.matcher is not None and self.matcher.is_whole):
            self.finished = "stop"
        else:
            self._count()

    def add_forced(self, token: int, logprob: float, is_special: bool) -> None:
        """Take a token that does not fit the form: a special one is no part of the text."""
        self.tokens.append(token)
        self.logprob += logprob
        self.is_broken |= not is_special
        if token in self.ends or self.is_broken:
            self.finished = "length"
        else:
            self._count()

    def _count(self) -> None:
        if self.most is not None and len(self.tokens) >= self.most:
            self.finished = "length"

    def answer(self) -> Answer:
        """What has been generated."""
        has_form = self.matcher is None or (self.matcher.has_form and not self.is_broken)
        reason = self.finished or "length"
        sequence = GeneratedSequence(self.tokens, reason, self.logprob, has_form)
        return Answer(self.request.prompt_tokens, [sequence])


class RowControl(LogitsProcessor):  # type: ignore[misc]
    """Chooses the tokens of the rows of one batch, and ends each row by itself.

    Args:
      requests: what each row asks for itself.
      common: the parameters of generation that are in force where a row has none of its own.
      criterion: what finds some stop strings.
      grammar: the form of the answers, if one was asked for.
      with_logprobs: whether to add up the logarithms of the tokens' probabilities.

    """

    def __init__(
        self,
        requests: Sequence[Request],
        common: Mapping[str, Any],
        criterion: Callable[[tuple[str, ...]], StopStringCriteria],
        grammar: Grammar | None,
        with_logprobs: bool,
    ) -> None:
        self._with_logprobs = with_logprobs
        self._all = [_row(each, common, grammar) for each in requests]
        #: Those that are in the batch still.
        self._rows = self._all
        self._ends = RowEnds(self._rows, criterion)
        self._special = frozenset() if grammar is None else grammar.special_tokens

    def answers(self) -> list[Answer]:
        """What has been generated for each row."""
        return [row.answer() for row in self._all]

    def keep_rows(self, indices: Sequence[int]) -> None:
        """Have the other rows leave the batch."""
        self._rows = [self._rows[i] for i in indices]

    def keywords(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of `generate`, given those of the pipeline."""
        found = {**given, **_GREEDY}
        if any("max_new_tokens" in row.request.parameters for row in self._rows):
            found["max_new_tokens"] = max(row.most or 0 for row in self._rows)
        found.pop("stop_strings", None)  # found here, so that it is known where each row ends
        found["logits_processor"] = [*(given.get("logits_processor") or ()), self]
        found["stopping_criteria"] = [*(given.get("stopping_criteria") or ()), self._ends]
        return found

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores (rows, tokens) with which the best token of each row is the one that it takes."""
        scores, forced = self._allowed(self._with_last(scores.float()))
        chosen = scores.argmax(-1)
        for drawing, rows in self._drawn().items():
            own = torch.tensor(rows, device=scores.device)
            numbers = [self._rows[row].numbers.random() for row in rows]
            chosen[own] = _draw(_warped(drawing, input_ids[own], scores[own]), numbers)
        logprobs = torch.zeros(len(scores))
        if self._with_logprobs:
            logprobs = scores.log_softmax(-1).gather(1, chosen[:, None])[:, 0]
        columns = chosen.tolist(), logprobs.tolist(), forced
        for row, token, logprob, is_forced in zip(self._rows, *columns, strict=True):
            if row.finished is None and is_forced:
                row.add_forced(token, logprob, token in self._special)
            elif row.finished is None:
                row.add(token, logprob)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)

    def _with_last(self, scores: torch.Tensor) -> torch.Tensor:
        """The scores, with those of the rows' last tokens where only some may be the last."""
        for i, row in enumerate(self._rows):
            if row.last and row.most == len(row.tokens) + 1:
                scores[i] = -torch.inf
                scores[i, list(row.last)] = 0.0
        return scores

    def _allowed(self, scores: torch.Tensor) -> tuple[torch.Tensor, list[bool]]:
        """The scores without those of tokens that do not fit the form of the answer.

        Where no token with a score fits, as where `generate` forces a language or an end, the
        row's scores stay; whether that is so is told of each row.
        """
        allowed = [
            None if row.matcher is None or row.finished else row.matcher.allowed()
            for row in self._rows
        ]
        if all(each is None for each in allowed):
            return scores, [False] * len(scores)
        every = np.ones(scores.shape[1], bool)
        mask = np.stack([every if each is None else each for each in allowed])
        masked = scores.masked_fill(~torch.from_numpy(mask).to(scores.device), -torch.inf)
        forced = masked.amax(-1).isneginf()
        return torch.where(forced[:, None], scores, masked), forced.tolist()

    def _drawn(self) -> dict[Drawing, list[int]]:
        """The rows that draw their next token, by how they draw it."""
        found: dict[Drawing, list[int]] = {}
        for i, row in enumerate(self._rows):
            if row.drawing is not None and row.finished is None:
                found.setdefault(row.drawing, []).append(i)
        return found


class RowEnds(StoppingCriteria):  # type: ignore[misc]
    """The rows of a batch that are at their end."""

    def __init__(
        self, rows: Sequence[_Row], criterion: Callable[[tuple[str, ...]], StopStringCriteria]
    ) -> None:
        self._rows = rows
        self._criteria = {row.stops: criterion(row.stops) for row in rows if row.stops}
        #: Those that were at their end before the last token.
        self._before = [False] * len(rows)

    def keep_rows(self, indices: Sequence[int]) -> None:
        """Have the other rows leave the batch."""
        self._rows = [self._rows[i] for i in indices]
        self._before = [self._before[i] for i in indices]

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Whether each row is at its end: (rows,), bool."""
        for stops, criterion in self._criteria.items():
            found = criterion(input_ids, scores).tolist()
            for row, stopped, before in zip(self._rows, found, self._before, strict=True):
                if stopped and row.stops == stops and not before:
                    row.finished = "stop"
        self._before = [row.finished is not None for row in self._rows]
        return torch.tensor(self._before, device=input_ids.device)


def _row(request: Request, common: Mapping[str, Any], grammar: Grammar | None) -> _Row:
    given = {**common, **request.parameters}
    stops = given.get("stop_strings") or ()
    return _Row(
        request=request,
        drawing=_drawing(given) if given.get("do_sample") else None,
        numbers=random.Random(request.seed),  # noqa: S311 - to draw tokens
        ends=ends_of(given),
        most=given.get("max_new_tokens"),
        last=_tokens(given.get("forced_eos_token_id")),
        stops=(stops,) if isinstance(stops, str) else tuple(stops),
        matcher=None if grammar is None else grammar.matcher(),
    )


def ends_of(parameters: Mapping[str, Any]) -> frozenset[int]:
    """The tokens that end an answer."""
    return _tokens(parameters.get("eos_token_id"))


def _tokens(given: Any) -> frozenset[int]:
    return frozenset() if given is None else frozenset(np.atleast_1d(given).tolist())


def _drawing(parameters: Mapping[str, Any]) -> Drawing:
    return tuple(parameters.get(name) for name, _, _ in _WARPERS)


def _warped(drawing: Drawing, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Scores of rows that draw alike, as `generate` makes them before it draws."""
    for (_, warper, neutral), value in zip(_WARPERS, drawing, strict=True):
        if value is not None and value != neutral:
            options = {"device": scores.device} if warper == "EtaLogitsWarper" else {}
            scores = getattr(transformers, warper)(value, **options)(input_ids, scores)
    return scores


def _draw(scores: torch.Tensor, numbers: Sequence[float]) -> torch.Tensor:
    """A token of each row, drawn with its own number from 0 to 1: (rows,).

    The first token at which the probabilities of those up to it exceed the number: noise of
    floating point, which differs between batches, hardly ever decides.
    """
    if scores.device.type == "mps":  # it has no float64
        return _draw(scores.cpu(), numbers).to(scores.device)
    totals = scores.double().softmax(-1).cumsum(-1)
    wanted = torch.tensor(numbers, dtype=torch.float64, device=scores.device)[:, None]
    return torch.searchsorted(totals, wanted * totals[:, -1:], right=True)[:, 0]

"""A model's `generate`, in which each row may ask something for itself: see requests.py."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from transformers import GenerationConfig
from transformers.generation.stopping_criteria import StopStringCriteria

from ..tasks.response_format import normal
from .generation import generates, generation_parameters, has_own_generate, where_generated
from .grammar import Grammar
from .own_parameters import own_parameters
from .requests import Answer, GeneratedSequence, Request
from .row_control import RowControl, ends_of
from .token_loop import decode, decodes

#: Changes the keywords of `generate`.
_Keywords: TypeAlias = Callable[[Mapping[str, Any]], dict[str, Any]]
_keywords: contextvars.ContextVar[_Keywords | None] = contextvars.ContextVar(
    "keywords of generate", default=None
)
#: Parameters with which `generate` does not choose each row's next token by itself, each with the
#: values with which it does.
_NOT_BY_ROW: Mapping[str, tuple[Any, ...]] = {
    "num_beams": (None, 1),
    "num_return_sequences": (None, 1),
    "assistant_model": (None,),
    "assistant_early_exit": (None,),
    "custom_generate": (None,),
    "dola_layers": (None,),
    "output_scores": (None, False),
    "penalty_alpha": (None,),
    "prompt_lookup_num_tokens": (None,),
    "token_healing": (None, False),
    "use_mtp": (None, False),
    "watermarking_config": (None,),
}
#: Parameters of rows, or of this project, that nothing reads where the best token is taken.
_OF_DRAWING = frozenset({"temperature", "top_k", "top_p", "min_p", "seed"})
#: Held by the one thread of this process that has seeded torch's own random numbers.
_seeding = threading.RLock()


def control_generate(model: Any) -> None:
    """Let rows of a model's batches ask something for themselves."""
    generate = model.generate

    @functools.wraps(generate)
    def controlled(*args: Any, **keywords: Any) -> Any:
        change = _keywords.get()
        if change is None:
            return generate(*args, **keywords)
        with _changing(None):  # `generate` may call itself, as to heal tokens
            return generate(*args, **change(keywords))

    model.generate = controlled


class GenerationControl:
    """The generation of one model with the parameters of one call.

    Args:
      pipe: the pipeline, weightless or not.
      parameters: those of the call.
      forward: the keywords of its forward stage.
      rows_leave: whether rows that have ended may leave their batch.

    Raises ValueError for a response_format that the model cannot be held to.

    """

    def __init__(
        self,
        pipe: Any,
        parameters: Mapping[str, Any],
        forward: Mapping[str, Any],
        rows_leave: bool = False,
    ) -> None:
        self._pipe = pipe
        self._own = own_parameters(pipe, parameters)
        self._in_force: dict[str, Any] = {}
        if generates(pipe):
            defaults = GenerationConfig._get_default_generation_params()
            self._in_force = {**defaults, **generation_parameters(pipe, forward)}
        form = self._own.get("response_format")
        self._grammar = self._grammar_of(form) if form is not None and self._in_force else None
        self._rows_leave = rows_leave and self.by_row and decodes(self._in_force)
        # Each reads the whole vocabulary when it is made, and keeps some megabytes.
        self._stops = functools.lru_cache(16)(self._criterion)

    def _criterion(self, stops: tuple[str, ...]) -> StopStringCriteria:
        return StopStringCriteria(self._pipe.tokenizer, list(stops))

    @functools.cached_property
    def obstacles(self) -> list[str]:
        """The parameters with which rows of a batch cannot be told apart; "model" for its class."""
        found = [name for name, fine in _NOT_BY_ROW.items() if self._in_force.get(name) not in fine]
        return [*found, "model"] if has_own_generate(self._pipe.model) else found

    @property
    def by_row(self) -> bool:
        """Whether rows that ask something for themselves may share a batch."""
        return not self.obstacles

    @property
    def limits_by_row(self) -> bool:
        """Whether those may that have a limit of their own, whatever the others' is."""
        return self.by_row and self._in_force.get("max_new_tokens") is not None

    def _grammar_of(self, form: Any) -> Grammar:
        if self.obstacles:
            given = ", ".join(
                f"{name}={self._in_force[name]!r:.80}" for name in self.obstacles if name != "model"
            )
            model = type(self._pipe.model).__name__
            raise ValueError(
                f"response_format is for answers that are generated token by token, got "
                f"{given or f'the model {model}, which generates in a way of its own'}"
            )
        vocabulary = self._pipe.model.config.get_text_config().vocab_size
        return Grammar(normal(form), self._pipe.tokenizer, vocabulary, ends_of(self._in_force))

    def check(self, row_parameters: Collection[str], replaced: Collection[str]) -> None:
        """Raise ValueError for what would be ignored.

        Args:
          row_parameters: the names of parameters that rows have for themselves.
          replaced: "preprocess" or "postprocess", in whose place the user has an own.

        """
        own = [*self._own, *(["parameters"] if row_parameters else [])]
        if own and not self._in_force:
            raise ValueError(
                f"{own[0]} is for answers that are generated, got the model "
                f"{type(self._pipe.model).__name__}"
            )
        if own and replaced:
            raise ValueError(
                f"{own[0]} would be ignored: it is read by the stages in whose place you have put "
                f"your own {' and '.join(replaced)}"
            )
        drawing = {*row_parameters, *self._own} & _OF_DRAWING
        if drawing and self._in_force and not self._in_force.get("do_sample"):
            raise ValueError(
                f"{min(drawing)} is read only where tokens are drawn at random: set do_sample=True"
            )
        if "stop_strings" in row_parameters and not self.by_row:
            raise ValueError(
                f"parameters: rows cannot have stop_strings of their own with "
                f"{', '.join(self.obstacles)}"
            )

    def together(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the model generates for chunks that ask nothing for themselves."""
        return _changing(self._with_leaving if self._rows_leave else None)

    def _with_leaving(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The keywords of `generate` with which rows that have ended leave their batch."""
        configs = (given.get("generation_config"), self._pipe.model.generation_config)
        # `generate` looks for those with a tokenizer, which it gives to no loop but its own.
        if any(getattr(config, "stop_strings", None) for config in configs):
            return dict(given)
        found = {**given, "custom_generate": decode}
        stops = found.pop("stop_strings", None)
        if stops:
            criterion = self._stops((stops,) if isinstance(stops, str) else tuple(stops))
            found["stopping_criteria"] = [*(given.get("stopping_criteria") or ()), criterion]
        return found

    @contextlib.contextmanager
    def answering(self, requests: Sequence[Request]) -> Iterator[Callable[[Any], list[Answer]]]:
        """A context in which the model generates for chunks with these requests.

        What it gives turns the outputs of the batch into the answers of the chunks.
        """
        if self.by_row:
            details = bool(self._own.get("details"))
            control = RowControl(requests, self._in_force, self._stops, self._grammar, details)

            def change(given: Mapping[str, Any]) -> dict[str, Any]:
                found = control.keywords(given)
                return self._with_leaving(found) if self._rows_leave else found

            with _changing(change):
                yield lambda outputs: control.answers()
            return
        (request,) = requests
        with _changing(lambda given: {**given, **request.parameters}), self._seeded(request.seed):
            yield lambda outputs: [self._answer(request, outputs)]

    @contextlib.contextmanager
    def _seeded(self, seed: int | None) -> Iterator[None]:
        """A context in which torch's own random numbers start from a seed."""
        if seed is None:
            yield
            return
        device = self._pipe.device
        devices = [device] if device.type not in ("cpu", "meta") else []
        kind = device.type if devices else "cuda"
        with _seeding, torch.random.fork_rng(devices, device_type=kind):
            torch.manual_seed(seed)
            yield

    def _answer(self, request: Request, outputs: Any) -> Answer:
        """What was generated for one chunk, as far as its outputs show it."""
        where = where_generated(outputs)
        if where is None:
            return Answer(request.prompt_tokens, [])
        name, prompt = where
        tensor = outputs[name]
        rows = tensor.reshape(-1, tensor.shape[-1])[:, prompt:].tolist()
        return Answer(request.prompt_tokens, [self._sequence(request, row) for row in rows])

    def _sequence(self, request: Request, tokens: list[int]) -> GeneratedSequence:
        in_force = {**self._in_force, **request.parameters}
        ends = ends_of(in_force)
        count = next((i + 1 for i, token in enumerate(tokens) if token in ends), len(tokens))
        ended = tokens[count - 1 : count] and tokens[count - 1] in ends
        most = in_force.get("max_new_tokens")
        stopped = ended or (most is not None and count < most)
        return GeneratedSequence(tokens[:count], "stop" if stopped else "length")


@contextlib.contextmanager
def _changing(change: _Keywords | None) -> Iterator[None]:
    token = _keywords.set(change)
    try:
        yield
    finally:
        _keywords.reset(token)

"""What each row asks of generation for itself, on its way to the model, and what comes of it.

A request travels in the features of a chunk, and an answer in its outputs, both under KEY:
transformers' pipelines see neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..options import content_hash
from ..tasks.own_parameters import PROMPT, RESPONSE
from ..tasks.response_format import ResponseFormatError, Shape, normal, response, shape_of
from .generation import draws, generates
from .own_parameters import own_parameters

KEY = "row_request"


@dataclass(frozen=True)
class Request:
    """What one chunk asks for itself."""

    #: The number that its random numbers start from; None: any.
    seed: int | None = None
    #: Parameters of generation, by their names.
    parameters: Mapping[str, Any] = field(default_factory=dict)
    #: Tokens of the prompt; 0 where there is no text in it.
    prompt_tokens: int = 0


@dataclass(frozen=True)
class GeneratedSequence:
    """What is known of one sequence that a model has generated."""

    #: Its tokens, without the prompt, and without what fills its row after its end.
    tokens: list[int]
    #: "stop" if it has ended by itself, "length" if it was cut.
    finish_reason: str
    #: The sum of the logarithms of the tokens' probabilities; None where it is unknown.
    logprob: float | None = None
    #: Whether it has the form that was asked for.
    has_form: bool = True


@dataclass(frozen=True)
class Answer:
    """What a model has generated for one chunk."""

    prompt_tokens: int
    sequences: list[GeneratedSequence]


class Requests:
    """Makes the requests of chunks, and reads their answers, in the stages around the model.

    Args:
      pipe: the pipeline, weightless or not.
      parameters: those of its call.
      forward: the keywords of its forward stage.

    """

    def __init__(
        self, pipe: Any, parameters: Mapping[str, Any], forward: Mapping[str, Any]
    ) -> None:
        own = own_parameters(pipe, parameters)
        self._tokenizer = pipe.tokenizer
        self._generates = generates(pipe)
        self._seed: int | None = own.get("seed")
        self._draws = draws(pipe, forward)
        self._details = bool(own.get("details"))
        form = own.get("response_format")
        self._shape = None if form is None else shape_of(normal(form))
        self._always = self._details or form is not None or (self._draws and self._seed is not None)

    @property
    def repeats(self) -> bool:
        """Whether equal examples certainly have equal answers."""
        return not self._draws or self._seed is not None

    def add(self, chunks: Sequence[Any], parameters: Mapping[str, Any]) -> None:
        """Put its request into the features of each chunk of an element.

        `parameters` are those that the element has for itself.
        """
        if not self._generates or not (self._always or parameters):
            return
        own = dict(parameters)
        seed = own.pop("seed", self._seed)
        for chunk in chunks:
            ids = chunk.get("input_ids")
            count = 0 if ids is None else ids.shape[-1]
            chunk[KEY] = Request(None if seed is None else _seed_of(seed, chunk), own, count)

    def parted(self, outputs: Sequence[Any]) -> tuple[list[Any], list[Answer | None]]:
        """The outputs of chunks as the pipeline knows them, and the answers that were in them."""
        pairs = list(map(answer_of, outputs))
        return [output for output, _ in pairs], [answer for _, answer in pairs]

    def answered(self, inference: Any, answers: Sequence[Answer | None]) -> Any:
        """The inference of an element with what was asked for beside the texts.

        Raises ResponseFormatError for a text that does not have the form that was asked for.
        """
        if not self._details and self._shape is None:
            return inference
        items = inference if isinstance(inference[0], list) else [inference]
        for texts, answer in zip(items, answers, strict=True):
            assert answer is not None
            for text, sequence in zip(texts, answer.sequences, strict=True):
                self._complete(text, answer.prompt_tokens, sequence)
        return inference

    def _complete(self, text: dict[str, Any], prompt: int, sequence: GeneratedSequence) -> None:
        if self._shape is not None:
            text[RESPONSE] = self._response(self._shape, sequence)
        if self._details:
            text[PROMPT] = prompt
            text["generated_tokens"] = len(sequence.tokens)
            text["finish_reason"] = sequence.finish_reason
            text["logprob"] = sequence.logprob

    def _response(self, shape: Shape, sequence: GeneratedSequence) -> Any:
        # Without the spaces before some signs, a text may not have the form any more.
        text = self._tokenizer.decode(
            sequence.tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        if not sequence.has_form:
            raise ResponseFormatError(
                f"the text ends after {len(sequence.tokens)} tokens, before it has the form that "
                f"response_format asks for: {text}"
            )
        return response(shape, text)


def answer_of(output: Any) -> tuple[Any, Answer | None]:
    """The outputs of a chunk as the pipeline knows them, and the answer that was in them."""
    if KEY not in output:
        return output, None
    rest = {name: value for name, value in output.items() if name != KEY}
    return type(output)(rest), output[KEY]


def _seed_of(seed: int, features: Mapping[str, Any]) -> int:
    """The seed of a chunk: it depends on nothing but `seed` and what the chunk says.

    Pixels do not count where there is a text: they may still be on their way to their final form.
    """
    text = features.get("input_ids")
    tensors = {name: each for name, each in features.items() if isinstance(each, torch.Tensor)}
    content = content_hash.digest(tensors if text is None else text)
    return int.from_bytes(hashlib.sha256(f"{seed} {content}".encode()).digest()[:8])

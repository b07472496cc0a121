"""How `generate` chooses tokens one by one, in a loop whose rows leave the batch at their end.

transformers' own loop computes every row of a batch until the longest answer is whole. Here, what a
model keeps of its rows is cut down to those that go on, as soon as enough have ended. Each row has
the tokens that it has in transformers' loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from transformers import (
    Cache,
    DynamicCache,
    EncoderDecoderCache,
    LogitsProcessor,
    StoppingCriteria,
)
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from transformers.generation import utils
from transformers.utils import ModelOutput

#: The share of a batch's rows that must have ended before they leave. To leave costs a copy of the
#: cache, as each step does.
_ENOUGH = 1 / 8
#: Parameters of generation that ask for more than the tokens, or for a cache of another kind, each
#: with the values that do not.
_AS_ALWAYS: Mapping[str, tuple[Any, ...]] = {
    "cache_implementation": (None,),
    "guidance_scale": (None, 1, 1.0),
    "output_attentions": (None, False),
    "output_hidden_states": (None, False),
    "output_logits": (None, False),
    "output_scores": (None, False),
    "prefill_chunk_size": (None,),
    "return_dict_in_generate": (None, False),
    "use_cache": (None, True),
}
#: What models read with the prompts alone: pictures and the like.
_OF_PROMPTS = getattr(utils, "MULTIMODAL_INPUTS_TO_DROP_OUTSIDE_PREFILL", ())
#: Processors and criteria that treat each row by itself and know nothing of rows but their tokens.
_BY_ROW = frozenset(
    {
        "EosTokenCriteria",
        "EpsilonLogitsWarper",
        "EtaLogitsWarper",
        "ExponentialDecayLengthPenalty",
        "ForcedBOSTokenLogitsProcessor",
        "ForcedEOSTokenLogitsProcessor",
        "InfNanRemoveLogitsProcessor",
        "LogitNormalization",
        "MaxLengthCriteria",
        "MinLengthLogitsProcessor",
        "MinNewTokensLengthLogitsProcessor",
        "MinPLogitsWarper",
        "NoBadWordsLogitsProcessor",
        "NoRepeatNGramLogitsProcessor",
        "RepetitionPenaltyLogitsProcessor",
        "SequenceBiasLogitsProcessor",
        "StopStringCriteria",
        "SuppressTokensAtBeginLogitsProcessor",
        "SuppressTokensLogitsProcessor",
        "TemperatureLogitsWarper",
        "TopHLogitsWarper",
        "TopKLogitsWarper",
        "TopPLogitsWarper",
        "TypicalLogitsWarper",
    }
)
_LAYERS = (DynamicLayer, DynamicSlidingWindowLayer)


def decodes(parameters: Mapping[str, Any]) -> bool:
    """Whether `decode` may stand in for transformers' loop with these parameters of generation."""
    return all(parameters.get(name) in fine for name, fine in _AS_ALWAYS.items())


def decode(
    model: Any,
    input_ids: torch.Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    **state: Any,
) -> torch.Tensor:
    """The sequences of a batch: (rows, tokens). For the argument `custom_generate` of `generate`.

    A processor or criterion that holds something for each row has a method `keep_rows`, which takes
    the indices of those that go on.
    """
    by_row = all(map(_treats_rows_alone, (*logits_processor, *stopping_criteria)))
    if len(input_ids) == 1 or not by_row or not state.get("use_cache"):
        return model._sample(  # type: ignore[no-any-return]
            input_ids,
            logits_processor=logits_processor,
            stopping_criteria=stopping_criteria,
            generation_config=generation_config,
            **state,
        )
    pad = generation_config._pad_token_tensor
    batch = _Batch(input_ids, state, 0 if pad is None else int(pad))
    inputs = model.prepare_inputs_for_generation(input_ids, is_first_iteration=True, **state)
    outputs = model(**inputs, return_dict=True)
    for name in _OF_PROMPTS:  # the cache has what the model has made of them
        batch.state.pop(name, None)
    with model._optimize_model_for_decode():
        while True:
            batch.state = model._update_model_kwargs_for_generation(
                outputs, batch.state, is_encoder_decoder=model.config.is_encoder_decoder
            )
            logits = outputs.logits[:, -1].to(input_ids.device, torch.float32, copy=True)
            del outputs  # its logits of a long prompt may be large
            scores = logits_processor(batch.input_ids, logits)
            batch.append(_chosen(scores, generation_config.do_sample))
            going_on = batch.going_on(stopping_criteria(batch.input_ids, None))
            if not going_on:
                return batch.sequences()
            if batch.may_leave(going_on):
                batch.leave(going_on)
                for each in (*logits_processor, *stopping_criteria):
                    if hasattr(each, "keep_rows"):
                        each.keep_rows(going_on)
            inputs = model.prepare_inputs_for_generation(
                batch.input_ids, next_sequence_length=1, **batch.state
            )
            outputs = model(**inputs, return_dict=True)


def _chosen(scores: torch.Tensor, is_drawn: bool) -> torch.Tensor:
    """The next token of each row: (rows,)."""
    if not is_drawn:
        return scores.argmax(-1)
    return torch.multinomial(scores.softmax(-1), 1)[:, 0]


def _treats_rows_alone(processor: LogitsProcessor | StoppingCriteria) -> bool:
    return hasattr(processor, "keep_rows") or type(processor).__name__ in _BY_ROW


class _Batch:
    """The rows that are computed, and the sequences of those that have left.

    Args:
      input_ids: (rows, tokens).
      state: what the model is given between its steps.
      filler: what stands after the end of a sequence.

    """

    def __init__(self, input_ids: torch.Tensor, state: dict[str, Any], filler: int) -> None:
        self.input_ids = input_ids
        self.state = state
        self._filler = filler
        self._ended = input_ids.new_zeros(len(input_ids), dtype=torch.bool)
        #: The numbers that the rows had at first.
        self._rows = list(range(len(input_ids)))
        self._left: dict[int, torch.Tensor] = {}

    def append(self, tokens: torch.Tensor) -> None:
        """Take the next token of each row: (rows,)."""
        tokens = tokens.masked_fill(self._ended, self._filler)
        self.input_ids = torch.cat([self.input_ids, tokens[:, None]], dim=-1)

    def going_on(self, ended: torch.Tensor) -> list[int]:
        """The indices of the rows that go on, given which have ended with their last token."""
        self._ended = self._ended | ended
        return [i for i, has_ended in enumerate(self._ended.tolist()) if not has_ended]

    def may_leave(self, going_on: Sequence[int]) -> bool:
        """Whether it is worth it, and possible, that all rows but these leave."""
        rows = len(self._rows)
        return rows - len(going_on) >= rows * _ENOUGH and _can_leave(self.state, rows)

    def leave(self, going_on: Sequence[int]) -> None:
        """Have all rows but these leave."""
        self._left |= {
            self._rows[i]: self.input_ids[i] for i in {*range(len(self._rows))} - {*going_on}
        }
        self._rows = [self._rows[i] for i in going_on]
        kept = torch.tensor(going_on)  # on no device: layers may be on several
        self.state = {name: _selected(value, kept) for name, value in self.state.items()}
        self.input_ids, self._ended = self.input_ids[kept], self._ended[kept]

    def sequences(self) -> torch.Tensor:
        """All sequences, those that end early filled up: (rows, tokens)."""
        rows = {**self._left, **dict(zip(self._rows, self.input_ids, strict=True))}
        found = self.input_ids.new_full((len(rows), self.input_ids.shape[1]), self._filler)
        for i, row in rows.items():
            found[i, : len(row)] = row
        return found


def _can_leave(state: Mapping[str, Any], rows: int) -> bool:
    """Whether all that a model is given between its steps is known to come apart by rows."""
    positions = state.get("position_ids")
    if positions is not None and positions.ndim != 2:
        return False
    return all(_comes_apart(value, rows) for value in state.values())


def _comes_apart(value: Any, rows: int) -> bool:
    if isinstance(value, torch.Tensor):
        return value.ndim > 0 and value.shape[0] == rows
    if isinstance(value, Cache):
        return all(type(layer) in _LAYERS for layer in _layers(value))
    if isinstance(value, ModelOutput):
        return all(_comes_apart(each, rows) for each in value.values())
    if isinstance(value, tuple):
        return all(_comes_apart(each, rows) for each in value)
    return value is None or isinstance(value, bool | int | float | str)


def _layers(cache: Cache) -> Iterable[Any]:
    """The layers of a cache, or the cache itself where it is of an unknown kind."""
    if type(cache) is EncoderDecoderCache:
        return [*_layers(cache.self_attention_cache), *_layers(cache.cross_attention_cache)]
    return cache.layers if type(cache) is DynamicCache else [cache]


def _selected(value: Any, kept: torch.Tensor) -> Any:
    """What a model is given between its steps, for some of its rows."""
    if isinstance(value, torch.Tensor):
        return value[kept]
    if isinstance(value, Cache):
        value.batch_select_indices(kept)
    elif isinstance(value, ModelOutput):
        return type(value)({name: _selected(each, kept) for name, each in value.items()})
    elif isinstance(value, tuple):
        return tuple(_selected(each, kept) for each in value)
    return value

"""Which chunks may share a batch, how they are joined, and how the answers come apart again.

A batch must not change an answer. Chunks are joined where that is known to be exact:

- padded, where the model is of a kind that ignores padding exactly and its call has nothing in
  it that counts tokens (`padding_of`);
- stacked, where all tensors have the same shapes, which is exact for any model that takes a batch;
- not at all, where a model cannot take a batch.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from transformers import Cache
from transformers.utils import ModelOutput

#: Model types in which a padded token, masked, changes nothing but floating-point noise: no
#: convolution, recurrence or pooling over tokens, and positions that padding does not move.
# fmt: off
PADS_EXACTLY = frozenset(
    {
        "albert", "bart", "bert", "bert-generation", "blenderbot",
        "blenderbot-small", "bloom", "camembert", "cohere", "deberta",
        "deberta-v2", "distilbert", "electra", "ernie", "esm",
        "falcon", "gemma", "gemma2", "gemma3_text", "gpt2",
        "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj", "granite",
        "layoutlm", "llama", "llava", "luke", "m2m_100", "marian",
        "mbart", "minilm", "mistral", "modernbert", "mpnet",
        "mt5", "mvp", "nllb-moe", "olmo", "olmo2",
        "opt", "pegasus", "phi", "phi3", "plbart",
        "qwen2", "qwen3", "roberta", "roberta-prelayernorm", "roformer",
        "smollm3", "splinter", "squeezebert", "stablelm", "starcoder2",
        "t5", "tapas", "umt5", "xlm-roberta", "xlm-roberta-xl",
    }
)
# fmt: on

#: Model types in which a padded sample of a waveform, masked, changes nothing either, if each frame
#: is normalised by itself and not over the whole length (feat_extract_norm="layer").
PADS_SAMPLES_EXACTLY = frozenset({"hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm"})

#: Features with one position per token or sample: (1, positions).
_SEQUENCES = ("input_ids", "input_values")

#: Generation parameters whose meaning counts or compares the tokens of the prompt.
_COUNTS_PROMPT = {
    "repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1.0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "min_length": (None, 0),
    "prompt_lookup_num_tokens": (None,),
    "penalty_alpha": (None,),
    "sequence_bias": (None,),
    "prefix_allowed_tokens_fn": (None,),
}
#: The same for an encoder-decoder, whose prompt stands apart from what it generates.
_COUNTS_ENCODER = ("encoder_repetition_penalty", "encoder_no_repeat_ngram_size")

#: Pixels or samples that a model reads as one token, more or less: 16 by 16 in three colours.
_NUMBERS = 768

Side = Literal["left", "right"]


@dataclass(frozen=True)
class Padding:
    """How the chunks of one model and call are joined."""

    #: The side on which tokens are padded; None: only equal shapes share a batch.
    side: Side | None
    #: What input_ids are padded with.
    token: int = 0
    #: False: one chunk at a time.
    batches: bool = True
    #: The least size of a chunk, in tokens: that of an answer much larger than its features.
    least: int = 1
    #: Tokens that end a generated sequence; empty where nothing is generated.
    ends: frozenset[int] = frozenset()
    #: What generate fills a finished row with.
    filler: int | None = None
    #: Whether outputs that are no tensors cannot be told apart: not by whom, or not by row.
    strict: bool = False


@dataclass(frozen=True)
class Place:
    """Where a chunk belongs in the pool: with whom it may share a batch, and how long it is."""

    key: Hashable
    length: int


def padding_of(pipe: Any, forward: Mapping[str, Any]) -> Padding:
    """The rule for a loaded pipeline and the keywords of its forward stage."""
    if not getattr(pipe, "pads", True):
        made = pipe.makes(forward) if hasattr(pipe, "makes") else 0
        return Padding(None, batches=pipe.batches, least=max(1, made // _NUMBERS))
    model, tokenizer = pipe.model, pipe.tokenizer
    config = model.config.get_text_config()
    pad = getattr(config, "pad_token_id", None)
    known = {model.config.model_type, config.model_type} <= PADS_EXACTLY and tokenizer is not None
    generates = getattr(pipe, "_pipeline_calls_generate", False) and model.can_generate()
    if generates:
        return _generation_padding(pipe, forward, known)
    if forward.get("sequential") or "assistant_model" in forward:
        return Padding(None, batches=False)
    if not config.is_encoder_decoder and _is_causal(model) and _classifies(model) and pad is None:
        return Padding(None, batches=False)  # the model finds a row's last token by its padding
    if pad is None:
        pad = getattr(tokenizer, "pad_token_id", None)
    known |= _pads_samples(model.config)
    return Padding("right" if known else None, token=pad or 0)


def _pads_samples(config: Any) -> bool:
    layer = getattr(config, "feat_extract_norm", None) == "layer"
    return layer and config.model_type in PADS_SAMPLES_EXACTLY


def _generation_padding(pipe: Any, forward: Mapping[str, Any], known: bool) -> Padding:
    model = pipe.model
    asked = _generation_parameters(pipe, forward)
    if hasattr(model, "thinker"):  # it generates the text: its own settings, and those named so
        named = {k.removeprefix("thinker_"): v for k, v in asked.items()}
        asked = {**model.thinker.generation_config.to_diff_dict(), **named}
    if asked.get("generation_mode") == "audio":  # spoken from noise, and as long as it takes
        return Padding(None, batches=False)
    if forward.get("return_language"):  # transformers takes the first row's for all
        return Padding(None, batches=False)
    if asked.get("assistant_model") is not None or asked.get("prompt_lookup_num_tokens"):
        return Padding(None, batches=False)
    pad, end = asked.get("pad_token_id"), asked.get("eos_token_id")
    ends = frozenset(np.atleast_1d(end).tolist()) if end is not None else frozenset()
    if pad is None:
        pad = min(ends, default=None)
    if isinstance(asked.get("stop_strings"), list | str) and (pad is None or pad in ends):
        return Padding(None, batches=False)  # a filler could not be told from an answer's end
    encoder_decoder = model.config.is_encoder_decoder
    counted = _COUNTS_ENCODER if encoder_decoder else tuple(_COUNTS_PROMPT)
    counts = any(asked.get(name) not in _COUNTS_PROMPT[name] for name in counted)
    # A decoder's max_length counts its prompt, padding too.
    counts |= not encoder_decoder and asked.get("max_new_tokens") is None
    side: Side = "right" if encoder_decoder else "left"
    fill = getattr(model.config.get_text_config(), "pad_token_id", None) if encoder_decoder else pad
    return Padding(side if known and not counts else None, token=fill or 0, ends=ends, filler=pad)


def _generation_parameters(pipe: Any, forward: Mapping[str, Any]) -> Mapping[str, Any]:
    """The generation parameters in force: the call's over the pipeline's over the model's."""
    found: Mapping[str, Any]
    forward = {**forward, **(forward.get("generate_kwargs") or {})}
    if hasattr(pipe, "_prepare_generate_kwargs"):
        found = pipe._get_set_generation_params(pipe._prepare_generate_kwargs(dict(forward)))
    else:  # transformers before 5.2x keeps the pipeline's own in one GenerationConfig
        config = forward.get("generation_config") or pipe.generation_config
        found = {**config.to_diff_dict(), **forward}
    config = found.get("generation_config")
    return found if config is None else {**config.to_diff_dict(), **found}


def _is_causal(model: Any) -> bool:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    encoders = ("bert", "roberta", "electra", "camembert", "xlm-roberta", "megatron-bert")
    return (
        type(model.config) in MODEL_FOR_CAUSAL_LM_MAPPING
        and model.config.model_type not in encoders
    )


def _classifies(model: Any) -> bool:
    return type(model).__name__.endswith("ForSequenceClassification")


def _token_names(features: Mapping[str, Any], tokens: int) -> list[str]:
    """The features with one position per token."""
    return [
        name
        for name, value in features.items()
        if isinstance(value, torch.Tensor) and value.ndim >= 2 and value.shape[1] == tokens
    ]


def place(features: Any, padding: Padding, alone: Hashable) -> Place:
    """The chunk's place in the pool. `alone` is a key that no other chunk has."""
    if not isinstance(features, Mapping):
        return Place(alone, 1)
    features = _plain(features)
    sequence = _sequence(features)
    length = 1 if sequence is None else sequence.shape[1]
    pads = padding.side is not None and length > 1 and "attention_mask" in features
    shapes = _Shapes()
    shapes.add(features, length if pads else None)
    batches = padding.batches and length > 0 and shapes.stack
    tokens = length if "input_ids" in features else 1
    size = max(tokens, shapes.numbers // _NUMBERS, padding.least)
    return Place(tuple(shapes.key) if batches else alone, size)


def _plain(features: Mapping[str, Any]) -> Mapping[str, Any]:
    """The dict in a tokenizer's encoding: several times faster to look into than the encoding."""
    return features.data if isinstance(features, UserDict) else features


class _Shapes:
    """What of a chunk's features decides with whom it may share a batch."""

    def __init__(self) -> None:
        self.key: list[tuple[Any, ...]] = []
        #: Whether every tensor has one row.
        self.stack = True
        self.numbers = 0

    def add(self, features: Mapping[str, Any], padded: int | None) -> None:
        """Look at features; those with `padded` positions may be padded."""
        for name, value in features.items():
            if isinstance(value, torch.Tensor):
                shape = value.shape
                self.numbers += value.numel() if value.is_floating_point() else 0
                self.stack = self.stack and len(shape) > 0 and shape[0] == 1
                if len(shape) > 1 and shape[1] == padded:
                    shape = shape[2:]
                self.key.append((name, shape, value.dtype))
            elif isinstance(value, Mapping):
                self.key.append((name, *value))
                self.add(value, None)
            else:
                self.key.append((name, None, _shared(value)))


def _sequence(features: Mapping[str, Any]) -> torch.Tensor | None:
    """The feature whose positions are counted and padded."""
    for name in _SEQUENCES:
        value = features.get(name)
        if isinstance(value, torch.Tensor) and value.ndim == 2:
            return value
    return None


def _length(features: Mapping[str, Any]) -> int:
    sequence = _sequence(features)
    return 0 if sequence is None else sequence.shape[1]


def _shared(value: Any) -> Hashable:
    """What of a feature that is no tensor must be equal for chunks to share a batch.

    The tensors in it: pipelines that nest them run the first chunk's for the whole batch.
    """
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.dtype, value.contiguous().numpy().tobytes()
    if isinstance(value, Mapping):
        return tuple((name, _shared(item)) for name, item in value.items())
    if not isinstance(value, list | tuple):
        return None
    found = tuple(map(_shared, value))
    return found if any(item is not None for item in found) else None


def collate(chunks: Sequence[Any], padding: Padding) -> Any:
    """One mapping of features for all chunks. Tensors (rows, …), anything else as a list."""
    if len(chunks) == 1:
        return chunks[0]
    kind = type(chunks[0])
    chunks = [_plain(chunk) for chunk in chunks]
    lengths = [_length(chunk) for chunk in chunks]
    own = _own_positions(lengths, padding.side) if len(set(lengths)) > 1 else None
    joined: dict[str, Any] = {}
    for name, value in chunks[0].items():
        values = [chunk[name] for chunk in chunks]
        if isinstance(value, Mapping) and _has_tensors(value):
            joined[name] = collate(values, padding)
        elif not isinstance(value, torch.Tensor):
            joined[name] = values
        elif own is not None and value.ndim >= 2 and value.shape[1] == lengths[0]:
            joined[name] = _pad(values, own, _fill(name, padding))
        else:
            joined[name] = torch.cat(values)
    return kind(joined)


def _has_tensors(features: Mapping[str, Any]) -> bool:
    return any(isinstance(value, torch.Tensor) for value in features.values())


def _fill(name: str, padding: Padding) -> int:
    if name == "input_ids":
        return padding.token
    return 1 if name in ("special_tokens_mask", "p_mask") else 0


def _own_positions(lengths: list[int], side: Side | None) -> np.ndarray[Any, Any]:
    """Which positions of a padded batch are a chunk's own: (rows, longest), bool."""
    longest = max(lengths)
    columns, own = np.arange(longest), np.asarray(lengths)[:, None]
    return columns < own if side == "right" else columns >= longest - own


def _pad(values: list[torch.Tensor], own: np.ndarray[Any, Any], fill: int) -> torch.Tensor:
    """(1, tokens, …) tensors of different lengths as one (rows, longest, …)."""
    rows = [value.numpy()[0] for value in values]
    out = np.full((*own.shape, *rows[0].shape[1:]), fill, dtype=rows[0].dtype)
    # One assignment for all rows: many times faster than a tensor operation for each.
    out[own] = np.concatenate(rows)
    return torch.from_numpy(out)


#: What the pipelines that generate call their sequences: prompt included, and without it.
_GENERATED = {"generated_sequence", "output_ids"}


class UnbatchError(Exception):
    """The model's outputs cannot be told apart by row: its chunks must run one at a time."""


@dataclass(frozen=True)
class Rows:
    """What is known of a batch when its outputs come apart."""

    lengths: list[int]
    padding: Padding
    #: Features that were joined as lists: given back as they were.
    listed: frozenset[str]
    #: Features and outputs with one position per token.
    tokens: frozenset[str]

    @property
    def longest(self) -> int:
        """Tokens of the padded batch."""
        return max(self.lengths, default=0)


def rows_of(chunks: Sequence[Any], padding: Padding, token_outputs: frozenset[str]) -> Rows:
    """What `uncollate` needs to know of these chunks."""
    chunks = [_plain(chunk) for chunk in chunks]
    first = chunks[0]
    listed = frozenset(k for k, v in first.items() if not isinstance(v, torch.Tensor))
    lengths = [_length(chunk) for chunk in chunks]
    if not lengths[0]:
        return Rows(lengths, padding, listed, frozenset())
    return Rows(
        lengths, padding, listed, frozenset(_token_names(first, lengths[0])) | token_outputs
    )


def uncollate(outputs: Any, rows: Rows) -> list[Any]:
    """The outputs of each chunk alone, in order, as the model gives them for a batch of one.

    Raises UnbatchError.
    """
    parts = _split(None, outputs, rows)
    generated = isinstance(outputs, Mapping) and _GENERATED & set(outputs)
    if generated and rows.padding.ends:
        for part, length in zip(parts, rows.lengths, strict=True):
            _trim_generated(part, rows.longest - length, rows.padding)
    return parts


def _split(name: str | None, value: Any, rows: Rows) -> list[Any]:
    count = len(rows.lengths)
    if isinstance(value, torch.Tensor):
        return _split_tensor(name, value, rows)
    if isinstance(value, ModelOutput | UserDict | dict):
        parts = {key: _split(key, item, rows) for key, item in value.items()}
        kind = ModelOutput if isinstance(value, ModelOutput) else type(value)
        return [kind({k: part[i] for k, part in parts.items()}) for i in range(count)]
    if name in rows.listed and isinstance(value, list) and len(value) == count:
        return value
    if isinstance(value, list | tuple):
        nested = [_split(name, item, rows) for item in value]
        return [type(value)(part[i] for part in nested) for i in range(count)]
    if value is not None and rows.padding.strict and not isinstance(value, Cache):
        raise UnbatchError(f"{name}: {type(value).__name__} for {count} chunks")
    if value is None or isinstance(value, str | bool | int | float):
        return [value] * count
    return [None] * count  # a cache: no postprocess reads it


def _split_tensor(name: str | None, value: torch.Tensor, rows: Rows) -> list[torch.Tensor]:
    count, longest = len(rows.lengths), rows.longest
    if value.ndim == 0 or value.shape[0] != count:
        raise UnbatchError(f"{name}: {tuple(value.shape)} for {count} chunks")
    aligned = name in rows.tokens and value.ndim >= 2 and value.shape[1] == longest
    if not aligned or min(rows.lengths) == longest:
        return list(torch.split(value, 1))
    if rows.padding.side == "left":
        return [value[i : i + 1, longest - n :] for i, n in enumerate(rows.lengths)]
    return [value[i : i + 1, :n] for i, n in enumerate(rows.lengths)]


def _trim_generated(part: Any, padded: int, padding: Padding) -> None:
    """Cut what the batch added to one element's sequences (1, sequences, tokens).

    Before them, the padding of the prompt; after them, what filled the row until the batch's
    longest was done.
    """
    name = "generated_sequence" if "generated_sequence" in part else "output_ids"
    sequences = part[name]
    if padding.side == "left" and padded and name == "generated_sequence":
        sequences = sequences[..., padded:]
    if name == "generated_sequence":
        ids = part.get("input_ids")
        prompt = ids.shape[1] if ids is not None else 0
    else:
        prompt = 1  # the token that starts a decoder may be an end or a filler
    rows = sequences.reshape(-1, sequences.shape[-1])
    end = prompt + max(_own_length(row[prompt:].tolist(), padding) for row in rows)
    part[name] = sequences[..., :end]


def _own_length(tokens: list[int], padding: Padding) -> int:
    """How many generated tokens a sequence has before what was filled in after its end."""
    for i, token in enumerate(tokens):
        if token in padding.ends:
            return i + 1
    end = len(tokens)
    while end and tokens[end - 1] == padding.filler:
        end -= 1
    return end

"""Whether padding is exact: for which models, and for which calls of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..pipelines.declared import UnpaddedPipeline
from ..pipelines.generation import generates, generation_parameters
from ..pipelines.waveforms import pads_samples, samples_of_a_frame

#: How a model is called, and with it the side of the padding and the positions that tokens get:
#: its `forward`, padded on the right; `generate` of a decoder, whose prompts are padded on the
#: left; `generate` of an encoder-decoder, whose sources are padded on the right.
Way = Literal["forward", "prompts", "sources"]

# fmt: off
_FORWARD_AND_PROMPTS = frozenset(
    {
        "apertus", "arcee", "bert", "bert-generation", "biogpt", "bloom", "camembert",
        "codegen", "cohere", "cohere2", "data2vec-text", "electra", "ernie", "ernie4_5",
        "ernie4_5_moe", "exaone4", "falcon", "gemma", "gemma2", "gemma3_text", "glm",
        "glm4", "glm4_moe", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_oss",
        "gptj", "granite", "granitemoe", "granitemoeshared", "helium", "hunyuan_v1_dense",
        "llama", "megatron-bert", "ministral", "ministral3", "mistral", "mixtral",
        "modernbert-decoder", "nemotron", "olmo", "olmo2", "olmo3", "olmoe", "openai-gpt",
        "opt", "persimmon", "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3",
        "qwen3_moe", "rembert", "roberta", "roberta-prelayernorm", "seed_oss", "smollm3",
        "stablelm", "starcoder2", "xlm-roberta", "xlm-roberta-xl",
    }
)
# Without UMT5: in transformers 5.17 padding changes what its heads answer.
_FORWARD = frozenset(
    {
        "albert", "bart", "deberta", "deberta-v2", "distilbert", "esm", "eurobert",
        "flaubert", "gte", "ibert", "jina_embeddings_v3", "layoutlm", "luke", "mbart",
        "modernbert", "mpnet", "mt5", "mvp", "nomic_bert", "plbart", "roformer",
        "splinter", "squeezebert", "t5", "tapas", "xlm",
    }
)
_SOURCES = frozenset(
    {
        "bart", "blenderbot", "blenderbot-small", "fsmt", "m2m_100", "marian", "mbart",
        "mt5", "mvp", "nllb-moe", "pegasus", "plbart", "t5", "umt5",
    }
)
# fmt: on

#: Model types in which a padded token, masked, changes nothing but floating-point noise: no
#: convolution, recurrence or pooling over tokens, and positions that padding does not move.
#: tests/batching/test_padding.py proves every entry with every head that transformers has for it.
PADS_EXACTLY: Mapping[Way, frozenset[str]] = {
    "forward": _FORWARD_AND_PROMPTS | _FORWARD,
    "prompts": _FORWARD_AND_PROMPTS | {"llava"},
    "sources": _SOURCES,
}

#: Generation parameters that look at the whole batch, its first row or its longest, or of which
#: it is unknown what they look at: with one of them rows run one at a time.
_WHOLE_BATCH = (
    "assistant_early_exit",
    "assistant_model",
    "custom_generate",
    "logits_processor",
    "max_time",
    "negative_prompt_attention_mask",  # of one row
    "negative_prompt_ids",
    "prefix_allowed_tokens_fn",
    "prompt_lookup_num_tokens",
    "return_dict_in_generate",  # one tensor of scores for every step of the longest
    "return_language",  # transformers takes the first row's for all
    "stopping_criteria",
    "token_healing",
    # Whisper's, which generate again for some of the rows, and pad what was said before.
    "compression_ratio_threshold",
    "condition_on_prev_tokens",
    "logprob_threshold",
    "no_speech_threshold",
)
#: Generation parameters whose meaning counts or compares the tokens of the prompt.
_COUNTS_PROMPT = {
    "repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1.0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "min_length": (None, 0),
    "penalty_alpha": (None,),
    "sequence_bias": (None,),
    "bad_words_ids": (None,),
    "watermarking_config": (None,),
}
#: The same for an encoder-decoder, whose prompt stands apart from what it generates.
_COUNTS_ENCODER = ("encoder_repetition_penalty", "encoder_no_repeat_ngram_size")

#: Pixels or samples that a model reads as one token, more or less: 16 by 16 in three colours.
NUMBERS_PER_TOKEN = 768

Side = Literal["left", "right"]


@dataclass(frozen=True)
class Padding:
    """How the chunks of one model and call are joined."""

    #: The side on which tokens are padded; None: only equal shapes share a batch.
    side: Side | None
    #: The fewest positions of a chunk that may be padded; a shorter one shares a batch only with
    #: equal shapes. A model may refuse what is shorter, and padding would hide that.
    shortest_padded: int = 2
    #: What input_ids are padded with.
    pad_token: int = 0
    #: False: one chunk at a time.
    can_batch: bool = True
    #: Chunks of more tokens are not padded: a model may compute long and short rows differently.
    longest_padded: int = sys.maxsize
    #: The least size of a chunk, in tokens: that of an answer much larger than its features.
    min_length: int = 1
    #: Tokens that end a generated sequence; empty where nothing is generated.
    ends: frozenset[int] = frozenset()
    #: What generate fills a row with that has finished without one of its ends.
    finished_row_token: int | None = None
    #: Whether a batch whose outputs are not all tensors must be taken apart: what else there is may
    #: belong to any row, or to all.
    require_tensors: bool = False


def padding_of(pipe: Any, forward: Mapping[str, Any]) -> Padding:
    """The rule for a loaded pipeline and the keywords of its forward stage."""
    if isinstance(pipe, UnpaddedPipeline):
        length = max(1, pipe.numbers_made(forward) // NUMBERS_PER_TOKEN)
        return Padding(None, can_batch=pipe.can_batch, min_length=length)
    model, tokenizer = pipe.model, pipe.tokenizer
    config = model.config.get_text_config()
    if _drops_tokens(config):
        return Padding(None, can_batch=False)
    pad = _in_vocabulary(getattr(config, "pad_token_id", None), config)
    generating = generates(pipe)
    known = tokenizer is not None and _pads_tokens(model, generating)
    if generating:
        found = _generation_padding(pipe, forward, known)
        made = generation_parameters(pipe, forward).get("max_new_tokens") or 0
        most = _most_tokens(config)
        return found if most == sys.maxsize else replace(found, longest_padded=most - made)
    # Such a model finds a row's last token by its padding.
    needs_pad = pad is None and _is_decoder(model) and _classifies(model)
    if needs_pad or forward.get("sequential") or "assistant_model" in forward:
        return Padding(None, can_batch=False)
    if pad is None:
        pad = _in_vocabulary(getattr(tokenizer, "pad_token_id", None), config)
    if pads_samples(model.config):
        return Padding("right", shortest_padded=max(2, samples_of_a_frame(model.config)))
    return Padding(
        "right" if known else None, pad_token=pad or 0, longest_padded=_most_tokens(config)
    )


def rows_may_leave(pipe: Any) -> bool:
    """Whether a batch of a generating model is known to be nothing but its rows.

    Others may keep numbers of rows where they are not seen, or mix them.
    """
    return generates(pipe) and _pads_tokens(pipe.model, generating=True)


def _pads_tokens(model: Any, generating: bool) -> bool:
    """Whether padded tokens are known to change nothing, the way this model is called."""
    # A repository's own code may have any model under the name of a known type.
    if not type(model).__module__.startswith("transformers."):
        return False
    sources = model.config.is_encoder_decoder
    way: Way = "forward" if not generating else "sources" if sources else "prompts"
    if model.config.model_type not in PADS_EXACTLY[way]:
        return False
    return model.config.get_text_config().model_type in PADS_EXACTLY[way]


def _in_vocabulary(token: Any, config: Any) -> int | None:
    """The token, if the model has an embedding for it: some configurations say -1 for none."""
    size = getattr(config, "vocab_size", None) or sys.maxsize
    return token if isinstance(token, int) and 0 <= token < size else None


def _most_tokens(config: Any) -> int:
    """How long a row may be for its angles not to depend on the longest row of its batch."""
    rope = getattr(config, "rope_parameters", None) or {}
    # One set for all layers, or one for each kind of layer.
    sets = [each for each in (rope, *rope.values()) if isinstance(each, Mapping)]
    if not any(each.get("rope_type") in ("dynamic", "longrope") for each in sets):
        return sys.maxsize
    name = "original_max_position_embeddings"
    limits = [*(each.get(name) for each in sets), getattr(config, name, None)]
    limits.append(config.max_position_embeddings)
    return min(int(limit) for limit in limits if limit is not None)


def _drops_tokens(config: Any) -> bool:
    """Whether experts take only so many tokens of a batch, whatever row they belong to."""
    share = getattr(config, "moe_eval_capacity_token_fraction", 1.0)
    return share < 1.0


def _generation_padding(pipe: Any, forward: Mapping[str, Any], known: bool) -> Padding:
    model = pipe.model
    asked = generation_parameters(pipe, forward)
    if hasattr(model, "thinker"):  # it generates the text: its own settings, and those named so
        named = {k.removeprefix("thinker_"): v for k, v in asked.items()}
        asked = {**model.thinker.generation_config.to_diff_dict(), **named}
    if asked.get("generation_mode") == "audio":  # spoken from noise, and as long as it takes
        return Padding(None, can_batch=False)
    given = (asked.get(name) for name in _WHOLE_BATCH)
    if any(value is not None and value is not False for value in given):
        return Padding(None, can_batch=False)
    pad, end = asked.get("pad_token_id"), asked.get("eos_token_id")
    ends = frozenset(np.atleast_1d(end).tolist()) if end is not None else frozenset()
    if pad is None:
        pad = min(ends, default=None)
    if asked.get("stop_strings") and (pad is None or pad in ends):
        return Padding(None, can_batch=False)  # a filler could not be told from an answer's end
    encoder_decoder = model.config.is_encoder_decoder
    counted = _COUNTS_ENCODER if encoder_decoder else tuple(_COUNTS_PROMPT)
    counts = any(asked.get(name) not in _COUNTS_PROMPT[name] for name in counted)
    # A decoder's max_length counts its prompt, padding too.
    counts |= not encoder_decoder and asked.get("max_new_tokens") is None
    side: Side = "right" if encoder_decoder else "left"
    fill = getattr(model.config.get_text_config(), "pad_token_id", None) if encoder_decoder else pad
    token = _in_vocabulary(fill, model.config.get_text_config()) or 0
    # Otherwise a row without an end is as long as the longest: a filler in it is the model's own.
    stops = asked.get("stop_strings") or asked.get("stopping_criteria")
    filler = pad if stops else None
    return Padding(
        side if known and not counts else None,
        pad_token=token,
        ends=ends,
        finished_row_token=filler,
    )


def _is_decoder(model: Any) -> bool:
    """Whether the model can only generate: those that fill masks, too, are encoders."""
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_MASKED_LM_MAPPING,
    )

    config = type(model.config)
    return config in MODEL_FOR_CAUSAL_LM_MAPPING and config not in MODEL_FOR_MASKED_LM_MAPPING


def _classifies(model: Any) -> bool:
    return type(model).__name__.endswith("ForSequenceClassification")

"""Whether padding is exact: for which models, and for which calls of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

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
NUMBERS_PER_TOKEN = 768

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


def padding_of(pipe: Any, forward: Mapping[str, Any]) -> Padding:
    """The rule for a loaded pipeline and the keywords of its forward stage."""
    if not getattr(pipe, "pads", True):
        made = pipe.makes(forward) if hasattr(pipe, "makes") else 0
        return Padding(None, batches=pipe.batches, least=max(1, made // NUMBERS_PER_TOKEN))
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
    # The convolutions of an adapter see what follows a row's own frames.
    adapts = getattr(config, "add_adapter", False)
    return layer and not adapts and config.model_type in PADS_SAMPLES_EXACTLY


def _generation_padding(pipe: Any, forward: Mapping[str, Any], known: bool) -> Padding:
    model = pipe.model
    asked = generation_parameters(pipe, forward)
    if hasattr(model, "thinker"):  # it generates the text: its own settings, and those named so
        named = {k.removeprefix("thinker_"): v for k, v in asked.items()}
        asked = {**model.thinker.generation_config.to_diff_dict(), **named}
    if asked.get("generation_mode") == "audio":  # spoken from noise, and as long as it takes
        return Padding(None, batches=False)
    if forward.get("return_language"):  # transformers takes the first row's for all
        return Padding(None, batches=False)
    if asked.get("return_dict_in_generate"):  # one tensor of scores for every step of the longest
        return Padding(None, batches=False)
    if asked.get("assistant_model") is not None or asked.get("prompt_lookup_num_tokens"):
        return Padding(None, batches=False)
    pad, end = asked.get("pad_token_id"), asked.get("eos_token_id")
    ends = frozenset(np.atleast_1d(end).tolist()) if end is not None else frozenset()
    if pad is None:
        pad = min(ends, default=None)
    if asked.get("stop_strings") and (pad is None or pad in ends):
        return Padding(None, batches=False)  # a filler could not be told from an answer's end
    encoder_decoder = model.config.is_encoder_decoder
    counted = _COUNTS_ENCODER if encoder_decoder else tuple(_COUNTS_PROMPT)
    counts = any(asked.get(name) not in _COUNTS_PROMPT[name] for name in counted)
    # A decoder's max_length counts its prompt, padding too.
    counts |= not encoder_decoder and asked.get("max_new_tokens") is None
    side: Side = "right" if encoder_decoder else "left"
    fill = getattr(model.config.get_text_config(), "pad_token_id", None) if encoder_decoder else pad
    return Padding(side if known and not counts else None, token=fill or 0, ends=ends, filler=pad)


def generation_parameters(pipe: Any, forward: Mapping[str, Any]) -> Mapping[str, Any]:
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

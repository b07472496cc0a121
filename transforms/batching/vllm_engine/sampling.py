"""Parameters of generation in the words of vLLM, and those that it does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import GenerationConfig

from ...options.shown import shown
from ...pipelines.generation import generation_parameters
from ...pipelines.own_parameters import own_parameters
from ...pipelines.requests import Request
from ...pipelines.row_control import ends_of
from ...pipelines.split_call import sanitized

#: Parameters of `generate` that `Sampling` reads.
_READ = frozenset(
    {
        "do_sample",
        "eos_token_id",
        "generation_config",
        "max_length",
        "max_new_tokens",
        "min_length",
        "min_new_tokens",
        "min_p",
        "num_return_sequences",
        "repetition_penalty",
        "stop_strings",
        "temperature",
        "top_k",
        "top_p",
    }
)
#: Those that decide how `generate` computes, or are read with others alone that are refused.
_IMMATERIAL = frozenset(
    {
        "assistant_confidence_threshold",
        "assistant_lookbehind",
        "bos_token_id",
        "cache_config",
        "cache_implementation",
        "compile_config",
        "continuous_batching_config",
        "decoder_start_token_id",
        "disable_compile",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "is_assistant",
        "length_penalty",
        "low_memory",
        "max_cache_len",
        "max_matching_ngram_size",
        "num_assistant_tokens",
        "num_assistant_tokens_schedule",
        "pad_token_id",
        "prefill_chunk_size",
        "remove_invalid_values",
        "renormalize_logits",
        "synced_gpus",
        "target_lookbehind",
        "transformers_version",
        "use_cache",
    }
)
#: Those that are read only where tokens are drawn at random.
_OF_DRAWING = frozenset({"epsilon_cutoff", "eta_cutoff", "top_h", "typical_p"})
#: Values with which a parameter does nothing, beside None, False and its default.
_NEUTRAL: Mapping[str, float] = {"guidance_scale": 1, "penalty_alpha": 0}
_MOST = 20  # tokens that are made, where nothing says how many: as in transformers


class Sampling:
    """The parameters of vLLM's requests for one stage.

    Args:
      pipe: the pipeline, weightless or not.
      parameters: those of its call.

    Raises ValueError for a parameter that vLLM does not have.

    """

    def __init__(self, pipe: Any, parameters: Mapping[str, Any]) -> None:
        forward = {**pipe._forward_params, **sanitized(pipe, parameters)[1]}
        defaults = GenerationConfig._get_default_generation_params()
        given = generation_parameters(pipe, forward)
        self._in_force: dict[str, Any] = {**defaults, **given}
        self._prefix_length: int = forward.get("prefix_length") or 0
        own = own_parameters(pipe, parameters)
        self._details = bool(own.get("details"))
        _check(self._in_force, defaults)
        if own.get("response_format") is not None:
            raise ValueError("response_format is not for engine='vllm': use engine='transformers'")

    def keywords(self, request: Request, prompt_tokens: int) -> dict[str, Any]:
        """The keywords of vLLM's SamplingParams for one request."""
        given = {**self._in_force, **request.parameters}
        stops = given.get("stop_strings")
        found = {
            "max_tokens": self._most(given, prompt_tokens),
            "min_tokens": given.get("min_new_tokens") or 0,
            "n": given.get("num_return_sequences") or 1,
            "repetition_penalty": given.get("repetition_penalty") or 1.0,
            # The ends of the pipeline, and no others that vLLM may know of.
            "ignore_eos": True,
            "stop_token_ids": sorted(ends_of(given)),
            "stop": [stops] if isinstance(stops, str) else list(stops or ()),
            "include_stop_str_in_output": True,
            "detokenize": bool(stops),  # our own stage makes the texts
            "logprobs": 0 if self._details else None,  # those of the tokens that are taken
        }
        return {**found, **(_drawing(given, request) if given.get("do_sample") else _GREEDY)}

    def _most(self, given: Mapping[str, Any], prompt_tokens: int) -> int:
        most = given.get("max_new_tokens")
        if most is not None:
            return int(most)
        total = given.get("max_length")
        if total is None:
            return _MOST
        left = int(total) + self._prefix_length - prompt_tokens
        if left < 1:
            raise ValueError(
                f"the prompt has {prompt_tokens} tokens, and max_length={total} counts them: set "
                "max_new_tokens"
            )
        return left


_GREEDY: Mapping[str, Any] = {"temperature": 0.0}


def _drawing(given: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """How a request draws its tokens. None is what changes nothing."""
    temperature, top_p = given.get("temperature"), given.get("top_p")
    return {
        "temperature": 1.0 if temperature is None else temperature,
        "top_p": 1.0 if top_p is None else top_p,
        "top_k": given.get("top_k") or 0,
        "min_p": given.get("min_p") or 0.0,
        "seed": None if request.seed is None else request.seed % 2**63,
    }


def _check(in_force: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise ValueError for a parameter that would be ignored."""
    immaterial = _READ | _IMMATERIAL | (set() if in_force.get("do_sample") else _OF_DRAWING)
    for name, value in in_force.items():
        if name in immaterial or name.startswith("_"):
            continue
        if value is None or value is False or value in (defaults.get(name), _NEUTRAL.get(name)):
            continue
        raise ValueError(
            f"{name} is no parameter of engine='vllm', got {name}={shown(value)}: leave it out, or "
            "use engine='transformers'"
        )
    count = in_force.get("num_return_sequences") or 1
    if count > 1 and not in_force.get("do_sample"):
        raise ValueError(
            f"num_return_sequences={count} of one best answer are not for engine='vllm': set "
            "do_sample=True"
        )
    if in_force.get("min_length"):
        raise ValueError(
            f"min_length counts the prompt, which engine='vllm' does not, got "
            f"min_length={shown(in_force['min_length'])}: use min_new_tokens"
        )

"""Parameters of `generate` tried on a tiny model: what it refuses there, it refuses everywhere."""

from __future__ import annotations

import contextlib
import copy
import functools
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel
from transformers.utils import logging

from ..options.shown import cut, shown

#: Parameters of which `generate` makes tensors, processors or a way of decoding before it asks the
#: model: they are read alike for every model. Others need a second model, a device, or more tokens,
#: or are functions of the user's, which may only be called with what the job gives them.
_TRIED = frozenset(
    {
        "bad_words_ids",
        "begin_suppress_tokens",
        "bos_token_id",
        "constraints",
        "encoder_no_repeat_ngram_size",
        "encoder_repetition_penalty",
        "eos_token_id",
        "epsilon_cutoff",
        "eta_cutoff",
        "exponential_decay_length_penalty",
        "force_words_ids",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "min_length",
        "min_new_tokens",
        "pad_token_id",
        "penalty_alpha",
        "sequence_bias",
        "suppress_tokens",
        "watermarking_config",
    }
)
#: Those that only sampling reads.
_OF_SAMPLING = frozenset({"epsilon_cutoff", "eta_cutoff"})


def try_generation(asked: Mapping[str, Any], vocabulary: int) -> None:
    """Raise ValueError for a parameter with which `generate` fails whatever the input is.

    Args:
      asked: the parameters.
      vocabulary: the number of the model's tokens.

    """
    tried = {name: value for name, value in asked.items() if name in _TRIED}
    if not tried or _error({}, vocabulary) is not None:
        return
    for name, value in tried.items():
        sampling = {"do_sample": True} if name in _OF_SAMPLING else {}
        error = _error({name: value, **sampling}, vocabulary)
        if error is not None:
            said = cut(str(error) or type(error).__name__)
            raise ValueError(f"{name} cannot be {shown(value)}: {said}") from error


def _error(parameters: Mapping[str, Any], vocabulary: int) -> Exception | None:
    """The error of generating one token with these parameters, if any."""
    model = _model(vocabulary)
    try:
        with _quiet():
            given = {"max_new_tokens": 1, "pad_token_id": 0, **parameters}
            model.generate(torch.zeros(1, 1, dtype=torch.int64), **copy.deepcopy(given))
    except Exception as error:  # of any class: transformers does not check most values
        return error
    return None


@functools.lru_cache(maxsize=2)
def _model(vocabulary: int) -> Any:
    sizes = {"n_embd": 2, "n_layer": 1, "n_head": 1, "n_positions": 8}
    with torch.random.fork_rng(devices=()):
        return GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, **sizes)).eval()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No warnings of transformers, which the workers give, and no random numbers of the process."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)

"""Checks of parameters that are numbers, booleans, mappings, lists or one of a few words.

A parameter of the same name has the same meaning in every task of transformers.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..options.shown import shown, typed
from ..options.suggest import did_you_mean, likely
from .text_checks import Check


def is_number(value: Any) -> bool:
    """Whether a value is a number, or a tensor or array of zero dimensions."""
    if isinstance(value, bool | np.bool_):
        return False
    return isinstance(value, numbers.Real) or getattr(value, "ndim", None) == 0


def _is_whole(value: Any) -> bool:
    return is_number(value) and hasattr(value, "__index__")


def condition(name: str, value: Any) -> None:
    """True or False; integers are accepted as booleans."""
    if not isinstance(value, bool | np.bool_ | numbers.Integral):
        raise TypeError(f"{name} must be True or False, got {_quoted(value)}")


def flag(name: str, value: Any) -> None:
    """True or False only: tokenizers accept no integers in their place."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {_quoted(value)}")


def number(name: str, value: Any) -> None:
    """Any number but NaN, which nothing is above or below."""
    if not is_number(value):
        raise TypeError(f"{name} must be a number, got {_quoted(value)}")
    if math.isnan(value):
        raise ValueError(f"{name} must be a number, got {typed(value)}")


def amount(name: str, value: Any) -> None:
    """A number that is not negative."""
    number(name, value)
    if not value >= 0:
        raise ValueError(f"{name} must be a number from 0, got {typed(value)}")


def positive(name: str, value: Any) -> None:
    """A number above 0."""
    number(name, value)
    if not value > 0:
        raise ValueError(f"{name} must be a number above 0, got {typed(value)}")


def whole(least: int) -> Check:
    """A check for an integer that is at least `least`."""

    def check(name: str, value: Any) -> None:
        if not _is_whole(value):
            raise TypeError(f"{name} must be a whole number from {least}, got {_quoted(value)}")
        if value < least:
            raise ValueError(f"{name} must be a whole number from {least}, got {typed(value)}")

    return check


def whole_or_float(least: int) -> Check:
    """A check for an integer that is at least `least`, or a float of the same value."""
    check = whole(least)
    return lambda name, value: check(
        name, int(value) if isinstance(value, float) and value.is_integer() else value
    )


def mapping(name: str, value: Any) -> None:
    """Keywords and their values."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a mapping of keywords to values, got {typed(value)}")


def sequence(name: str, value: Any) -> None:
    """A list, with items of any type."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError(f"{name} must be a list, got {typed(value)}")


def word(*valid: str) -> Check:
    """A check for one of a few words, in upper or lower case."""
    return functools.partial(_word, valid, False)


def word_or_condition(*valid: str) -> Check:
    """A check for True, False or one of a few words."""
    return functools.partial(_word, valid, True)


def _word(valid: Iterable[str], conditions: bool, name: str, value: Any) -> None:
    if conditions and not isinstance(value, str):
        return condition(name, value)
    listed = ", ".join([*(("True", "False") if conditions else ()), *map(repr, valid)])
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, one of {listed}, got {typed(value)}")
    if value.lower() not in valid:
        hint = did_you_mean(likely(value, valid))
        raise ValueError(f"{name} must be one of {listed}, got {typed(value)}. {hint}".rstrip(". "))
    return None


def _strides(name: str, value: Any) -> None:
    """Seconds of overlap: one number for both sides, or one for the left and one for the right."""
    if isinstance(value, list | tuple | np.ndarray) and np.shape(value) == (2,):
        amount(f"{name}[0]", value[0])
        amount(f"{name}[1]", value[1])
    else:
        amount(name, value)


def _quoted(value: Any) -> str:
    """A value for a message, with advice where it is a number or boolean in quotes."""
    if not isinstance(value, str):
        return typed(value)
    return f"the text {shown(value)}" + (": leave out the quotes" if _is_quoted(value) else "")


def _is_quoted(text: str) -> bool:
    if text.lower() in (*CONDITIONS, *YAML_CONDITIONS):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


#: Words that are not strings when they are unquoted: in Python and YAML, and in YAML only.
CONDITIONS = ("true", "false", "none", "null")
YAML_CONDITIONS = ("yes", "no", "on", "off")

PARAMETER_CHECKS: Mapping[str, Check] = {
    "aggregation_strategy": word("none", "simple", "first", "average", "max"),
    "function_to_apply": word("none", "sigmoid", "softmax"),
    **dict.fromkeys(("max_hole_area", "max_sprinkle_area"), number),
    "return_timestamps": word_or_condition("char", "word"),
    "subtask": word("instance", "panoptic", "semantic"),
    "chunk_length_s": amount,
    **dict.fromkeys(("crop_n_points_downscale_factor", "frame_sampling_rate"), positive),
    "stride_length_s": _strides,
    **dict.fromkeys(
        (
            "crops_n_layers",
            "doc_stride",
            "max_length",
            "max_question_len",
            "max_seq_len",
            "stride",
        ),
        whole(0),
    ),
    **dict.fromkeys(
        ("max_answer_len", "num_frames", "points_per_batch", "points_per_crop", "top_k", "topk"),
        whole(1),
    ),
    **dict.fromkeys(("add_special_tokens", "skip_special_tokens"), flag),
    **dict.fromkeys(
        (
            "clean_up_tokenization_spaces",
            "continue_final_message",
            "ignore_warning",
            "return_full_text",
            "return_language",
            "return_tensors",
            "return_text",
        ),
        condition,
    ),
    **dict.fromkeys(
        (
            "decoder_kwargs",
            "forward_params",
            "generate_kwargs",
            "image_processor_kwargs",
            "parameters",
            "preprocess_params",
            "processor_kwargs",
            "tokenize_kwargs",
            "tokenizer_encode_kwargs",
            "tokenizer_kwargs",
        ),
        mapping,
    ),
    **dict.fromkeys(("documents", "tools"), sequence),
}
#: Boolean parameters that accept a string, too.
ALSO_TEXTS = ("padding", "truncation")


def parameter_checks(parameters: Mapping[str, Any], of_transformers: bool) -> Mapping[str, Check]:
    """The checks of a task's parameters, by name.

    Args:
      parameters: the names of the parameters and their defaults.
      of_transformers: whether these are parameters of transformers' own tasks, whose names say
        what they accept.

    """
    checks = {name: _by_default(name, default) for name, default in parameters.items()}
    if of_transformers:
        checks |= {name: check for name, check in PARAMETER_CHECKS.items() if name in parameters}
    return {name: check for name, check in checks.items() if check is not None}


def _by_default(name: str, default: Any) -> Check | None:
    if name in ALSO_TEXTS:
        return None
    if isinstance(default, bool):
        return condition
    return number if isinstance(default, int | float) else None


@functools.cache
def tokenizer_checks() -> Mapping[str, Check]:
    """The checks of the keywords of a tokenizer's call, derived from their annotations."""
    from transformers import PreTrainedTokenizerBase

    known = {"bool": flag, "int": whole(0)}
    checks: dict[str, Check] = {}
    for name, item in inspect.signature(PreTrainedTokenizerBase.__call__).parameters.items():
        kind = inspect.formatannotation(item.annotation).strip("'").removesuffix(" | None")
        if kind in known or kind.startswith("dict"):
            checks[name] = known.get(kind, mapping)
    return {**checks, "split_special_tokens": flag}

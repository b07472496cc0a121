"""Parameters of `generate` that it would refuse whatever it is given: told before a job runs."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import transformers
from transformers import GenerationConfig, GenerationMixin
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from ..options.shown import shown
from ..options.suggest import unknown
from ..tasks.parameter_checks import is_number
from ..tasks.task import generation_keywords
from .generation_trial import try_generation

#: What pipelines call the sequences in their outputs.
_SEQUENCES = ("generated_sequence", "output_ids", "sequences")
#: Beside those whose default says of what type they are.
_NUMBERS = frozenset(
    {
        "diversity_penalty",
        "encoder_repetition_penalty",
        "epsilon_cutoff",
        "eta_cutoff",
        "guidance_scale",
        "max_new_tokens",
        "max_time",
        "min_new_tokens",
        "min_p",
        "num_assistant_tokens",
        "pad_token_id",
        "penalty_alpha",
        "prompt_lookup_num_tokens",
    }
)
#: What generate makes of a parameter when it samples, and of which values.
_WARPERS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "temperature": ("TemperatureLogitsWarper", lambda value: value != 1.0),
    "top_k": ("TopKLogitsWarper", lambda value: value != 0),
    "top_p": ("TopPLogitsWarper", lambda value: value < 1.0),
    "min_p": ("MinPLogitsWarper", lambda value: True),
    "typical_p": ("TypicalLogitsWarper", lambda value: value < 1.0),
}
#: The same, whether it samples or not.
_PROCESSORS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "repetition_penalty": ("RepetitionPenaltyLogitsProcessor", lambda value: value != 1.0),
    "no_repeat_ngram_size": ("NoRepeatNGramLogitsProcessor", lambda value: value > 0),
}


def check_generation(pipe: Any, forward: Mapping[str, Any]) -> None:
    """Raise ValueError for a parameter of generation that no input can be answered with.

    pipe: a pipeline, weightless or not; forward: the keywords of its forward stage.
    """
    asked = _asked(forward)
    if not asked or not generates(pipe):
        return
    own = has_own_generate(pipe.model)
    for name, value in asked.items():
        _check_type(name, value, several=own and name == "temperature")
    if own:
        return  # it knows better how values go together, and may read some of them itself
    given = asked.get("generation_config")
    if given is not None:
        asked = {**given.to_diff_dict(), **asked}
    in_force = {**generation_parameters(pipe, forward), **asked}
    _check_values(asked, bool(in_force.get("do_sample")))
    _config(in_force)
    vocabulary = getattr(pipe.model.config.get_text_config(decoder=True), "vocab_size", None)
    if vocabulary:
        try_generation(asked, vocabulary)


def check_names(pipe: Any, keywords: Mapping[str, Any] | None) -> None:
    """Raise ValueError for one of generate_kwargs that neither generate nor the model takes."""
    model = pipe.model
    if not keywords or not generates(pipe):
        return
    own = has_own_generate(model)
    if own and model.config.model_type != "whisper":  # it may have any keywords
        return
    taken = {*generation_keywords(), *inspect.signature(model.generate).parameters}
    for name in keywords.keys() - taken:
        try:
            model._validate_model_kwargs({name: keywords[name]})
        except ValueError as error:
            valid = {"of generate": sorted(taken - {"self", "kwargs"})}
            raise ValueError(unknown("keyword of generate_kwargs", name, (), more=valid)) from error


def check_speech(model: Any, keywords: Mapping[str, Any] | None) -> None:
    """Raise ValueError for one of Whisper's generate_kwargs that no sound can be answered with."""
    if not keywords or model.config.model_type != "whisper":
        return
    _check_language(model.generation_config, keywords)
    tokens, most = keywords.get("max_new_tokens") or 0, model.config.max_target_positions
    if tokens >= most:
        raise ValueError(
            f"max_new_tokens must be less than the {most} tokens that the model can write, got "
            f"{tokens}"
        )


def _check_language(config: GenerationConfig, keywords: Mapping[str, Any]) -> None:
    """Raise ValueError for a language, or what to do with it, that Whisper does not know."""
    multilingual = keywords.get("is_multilingual", getattr(config, "is_multilingual", None))
    for name in ("language", "task"):
        if multilingual is False and keywords.get(name) is not None:
            raise ValueError(f"the model knows English alone: leave out {name}={keywords[name]!r}")
    languages: Mapping[str, int] = getattr(config, "lang_to_id", {})
    for language in _listed(keywords.get("language")) if languages else ():
        if _language_token(language) not in languages:
            codes = TO_LANGUAGE_CODE.items()
            valid = [name for name, code in codes if f"<|{code}|>" in languages]
            raise ValueError(unknown("language", language, (), more={"languages": valid}))
    tasks: Mapping[str, int] = getattr(config, "task_to_id", {})
    if tasks and keywords.get("task") is not None and keywords["task"] not in tasks:
        raise ValueError(unknown("task of generate_kwargs", keywords["task"], tasks))


def _listed(value: Any) -> list[Any]:
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def _language_token(language: str) -> str:
    """The token of a language, given as that token, its name or its code."""
    language = language.lower()
    if language.startswith("<|"):
        return language
    return f"<|{TO_LANGUAGE_CODE.get(language, language)}|>"


def where_generated(outputs: Mapping[str, Any]) -> tuple[str, int] | None:
    """What a pipeline calls the sequences in its outputs, and how many tokens stand before them.

    These are the prompt, or the token that starts a decoder, which may be an end or a filler. None:
    nothing is known of the sequences.
    """
    name = next((each for each in _SEQUENCES if each in outputs), None)
    if name is None:
        return None
    ids = outputs.get("input_ids")
    prompt = 0 if ids is None else ids.shape[-1]
    return name, prompt if name == "generated_sequence" else 1


def _asked(forward: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of generation among the keywords of a forward stage."""
    found = dict(forward)
    for outer in ("forward_params", "generate_kwargs"):
        nested = forward.get(outer)
        if nested is not None and not isinstance(nested, Mapping):
            raise ValueError(f"{outer} must be a mapping, got {shown(nested)}")
        found |= nested or {}
    names = generation_keywords()
    return {k: v for k, v in found.items() if k in names and v is not None}


def has_own_generate(model: Any) -> bool:
    """Whether a model's class has a `generate` of its own."""
    return getattr(type(model), "generate", None) is not GenerationMixin.generate


def _check_type(name: str, value: Any, several: bool = False) -> None:
    """Raise ValueError for a value of a wrong type. `several`: a sequence of numbers may be it."""
    default = GenerationConfig._get_default_generation_params().get(name)
    if name == "generation_config":
        if not isinstance(value, GenerationConfig):
            raise ValueError(
                "generation_config must be a GenerationConfig (give its parameters directly in "
                f"place of a mapping), got {shown(value)}"
            )
    elif name == "stop_strings":
        texts = [value] if isinstance(value, str) else value
        if not len(texts):
            raise ValueError(f"stop_strings must be a text or a list of texts, got {shown(value)}")
    elif name == "early_stopping":  # transformers' own check says what may be
        return
    elif isinstance(default, bool):
        if not isinstance(value, numbers.Integral) and type(value).__name__ != "bool":
            raise ValueError(f"{name} must be True or False, got {shown(value)}")
    elif name in _NUMBERS or isinstance(default, int | float):
        each_of = value if several and isinstance(value, list | tuple) else [value]
        if not all(is_number(each) and not math.isnan(each) for each in each_of):
            raise ValueError(f"{name} must be a number, got {shown(value)}")
        whole = isinstance(value, numbers.Integral)
        if name == "num_beams" and not (whole and value >= 1):
            raise ValueError(f"num_beams must be a whole number from 1, got {shown(value)}")


def _check_values(asked: Mapping[str, Any], samples: bool) -> None:
    """Make what generate makes of single parameters: it raises ValueError as generate does."""
    for name, (kind, is_used) in (*_PROCESSORS.items(), *(_WARPERS.items() if samples else ())):
        value = asked.get(name)
        if value is None or not is_used(value):
            continue
        try:
            getattr(transformers, kind)(value)
        except ValueError as error:
            raise ValueError(f"{name} cannot be {shown(value)}: {error}") from error
    # More sequences than one are a matter of other parameters.
    for name in asked.keys() - {"generation_config", "num_return_sequences"}:
        _config({name: asked[name]})


def _config(parameters: Mapping[str, Any]) -> GenerationConfig:
    """The configuration with these parameters. Raises ValueError as generate does."""
    fields = vars(GenerationConfig()).keys()
    return GenerationConfig(**{k: v for k, v in parameters.items() if k in fields})


def generates(pipe: Any) -> bool:
    """Whether a pipeline's model answers token by token."""
    return bool(getattr(pipe, "_pipeline_calls_generate", False) and pipe.model.can_generate())


def draws(pipe: Any, forward: Mapping[str, Any]) -> bool:
    """Whether a pipeline may draw tokens at random: two answers to one input may differ then.

    pipe: a pipeline, weightless or not; forward: the keywords of its forward stage.
    """
    if not generates(pipe):
        return False
    in_force = generation_parameters(pipe, forward)
    # Whisper draws with the temperatures that follow the first, where that gives no good answer.
    several = isinstance(in_force.get("temperature"), list | tuple)
    return bool(in_force.get("do_sample")) or several


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

"""What a task is: its inputs, its parameters, its pipeline class and its typed output."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

from ..options.shown import shown
from ..options.suggest import likely, unknown
from .default_models import default_model
from .own_parameters import OWN_CHECKS, check_answers_in_text
from .parameter_checks import (
    ALSO_TEXTS,
    CONDITIONS,
    YAML_CONDITIONS,
    parameter_checks,
    tokenizer_checks,
)
from .text_checks import GENERATION, Check, check_values


class _Required:
    """The default of a parameter that has none."""

    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()

#: A prediction's columns: name -> Python type, as Beam schemas know them.
Columns = dict[str, Any]
Parameters = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """The declaration of one task. A pipeline class of transformers does the work."""

    name: str
    transform: str
    #: The types of the inputs, by name. An element that is not a mapping is the first input.
    inputs: Mapping[str, tuple[type, ...]]
    optional_inputs: frozenset[str] = frozenset()
    #: The task's own parameters, with Hugging Face's defaults.
    parameters: Parameters
    #: Checks of parameters, of keywords within them and of inputs that must be strings;
    #: parameter_checks.py has those of other parameters.
    texts: Mapping[str, Check] = field(default_factory=dict)
    #: Checks of parameters that mean something else here than in other tasks.
    checks: Mapping[str, Check] = field(default_factory=dict)
    #: Whether all keywords of the tokenizer's call are parameters, too.
    tokenizer_keywords: bool = False
    #: Whether all keywords of `model.generate` are parameters, too.
    generates: bool = False
    #: Whether its inferences are generated texts: then `details` and `response_format` are
    #: parameters, too.
    answers_in_text: bool = False
    #: Whether any other keyword may be a parameter, too, which the model's own pipeline checks.
    open_parameters: bool = False
    #: Whether inputs are not declared: the example is passed to the pipeline's call unchecked.
    open_inputs: bool = False
    #: The typed columns of a prediction, given the parameters.
    columns: Callable[[Parameters], Columns]
    #: The columns' values in one inference, given the parameters.
    values: Callable[[Any, Parameters], Mapping[str, Any]]
    #: The kinds of inputs that are media, see media/decoding.py.
    media: Mapping[str, str] = field(default_factory=dict)
    #: The meaning of a list in the first input: a "chat"; the "words" of one text, if
    #: is_split_into_words is set; or the "samples" of one audio. Any other list holds several
    #: inputs. None: the first input is never a list, or any list is one input.
    lists: str | None = None
    #: Structured inputs, which may be JSON text: each with its conversion from nested rows.
    structures: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    #: The model's outputs that postprocess reads; no others leave the engine. Empty: all.
    outputs: frozenset[str] = frozenset()
    #: Parameters that change the columns, each with an example value, for the list of tasks.
    choices: Parameters = field(default_factory=dict)
    #: The model's outputs with one position per token (dimension 1): in a padded batch, they are
    #: trimmed to the element's own tokens.
    token_outputs: frozenset[str] = frozenset()
    #: Whether outputs of many elements may be postprocessed at once: see pipelines/together.py.
    answers_together: bool = False
    #: Whether answers may be drawn at random whatever the parameters are.
    draws: bool = False
    aliases: tuple[str, ...] = ()
    #: "module:Class" of a pipeline class of this project; None: transformers' class for `name`. A
    #: class for models of another library has class methods `load` and `weightless`.
    pipeline: str | None = None
    #: Names of transformers' Auto classes that load the model, if `pipeline` is set.
    model_classes: tuple[str, ...] = ()
    default_model: tuple[str, str] | None = None
    #: Whether older supported versions of transformers lack the task.
    recent: bool = False

    def pipeline_class(self) -> type[Any]:
        """The class that preprocesses, runs and postprocesses this task."""
        if self.pipeline is not None:
            module, _, name = self.pipeline.partition(":")
        else:
            stock = _supported(self.name)["impl"]
            if isinstance(stock, type):  # transformers before 5.2x
                return stock
            module, _, name = stock.rpartition(".")
        cls: type[Any] = getattr(importlib.import_module(module), name)
        return cls

    def auto_classes(self) -> tuple[Any, ...]:
        """The Auto classes that can load a model of this task, in order of preference."""
        if not self.model_classes:
            return tuple(_supported(self.name)["pt"])
        return named_classes(self.model_classes)

    @property
    def own_parameters(self) -> tuple[str, ...]:
        """The parameters of generation that are this project's, and unknown to transformers."""
        if not self.generates:
            return ()
        return tuple(OWN_CHECKS) if self.answers_in_text else ("seed",)

    def default(self) -> tuple[str, str]:
        """The default model and its revision."""
        model = self.default_model or default_model(self.name)
        return next(iter(model.values())) if isinstance(model, Mapping) else model

    def check_parameters(
        self, given: Parameters, options: Collection[str] = (), complete: bool = True
    ) -> None:
        """Raises TypeError for a parameter that does not exist or is missing.

        Raises TypeError or ValueError for a value that cannot be right whatever the model is.

        Args:
          given: the parameters.
          options: further valid names, for suggestions.
          complete: False if others may follow: then none is missing.

        """
        more: dict[str, Collection[str]] = {}
        if self.tokenizer_keywords:
            more["of the tokenizer's call"] = sorted(tokenizer_keywords())
        if self.generates:
            more["of generate"] = sorted(generation_keywords(), key=_rarity)
            more["of this project"] = self.own_parameters
        valid = {*self.parameters}.union(*more.values())
        for name in given:
            is_open = self.open_parameters and not _is_meant(name, options)
            if name in valid or (is_open and not self._input_hint(name)):
                continue
            hint = self._input_hint(name) or _renamed(name, valid.union(options))
            more = {"options of every task": options, **more}
            reason = unknown("parameter", name, self.parameters, hint=hint, more=more)
            raise TypeError(f"{self.name}: {reason}")
        for name, default in self.parameters.items() if complete else ():
            if default is REQUIRED and _is_missing(given.get(name)):
                raise TypeError(f"{self.name}: the parameter {name!r} must be given")
        try:
            self._check_values(given)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{self.name}: {error}") from None

    def _input_hint(self, name: str) -> str | None:
        """Advice for the name of an input; else None."""
        if name not in self.inputs or len(self.inputs) < 2 or self.open_inputs:
            return None
        named = ", ".join(
            f'"{each}": …'
            for each in self.inputs
            if each == name or each not in self.optional_inputs
        )
        return f"{name} is an input: give elements {{{named}}}, or of rows input={{{named}}}."

    def _check_values(self, given: Parameters) -> None:
        within = {**(GENERATION if self.generates else {}), **self.texts}
        checks = dict(within)
        if not self.open_parameters:
            own = parameter_checks(self.parameters, of_transformers=not self.open_inputs)
            checks = {**own, **self.checks, **within}
        checks |= {name: OWN_CHECKS[name] for name in self.own_parameters}
        if not self.open_inputs:
            within = {**tokenizer_checks(), **within}
        if self.tokenizer_keywords:
            checks = {**tokenizer_checks(), **checks}
        check_values(checks, within, given)
        for name in given.keys() - checks.keys():
            self._check_word(name, given[name])
        if self.answers_in_text:
            check_answers_in_text(given)

    def _check_word(self, name: str, value: Any) -> None:
        """Raises TypeError for a word such as 'true' that should not be quoted."""
        words = (*CONDITIONS, *(YAML_CONDITIONS if name in ALSO_TEXTS else ()))
        if isinstance(value, str) and value.lower() in words and not self.open_parameters:
            raise TypeError(f"{name} cannot be the text {shown(value)}: leave out the quotes")

    def is_plain(self, example: Mapping[Any, Any]) -> bool:
        """Whether a mapping is itself the first input, and does not hold inputs by name."""
        first = next(iter(self.inputs))
        if first in self.media:  # a struct of bytes and path, or of samples
            return not self.inputs.keys() & example.keys()
        return len(self.inputs) == 1 and isinstance(example, self.inputs[first])


#: Former names, and names in other libraries: the parameter or option that replaces each (empty:
#: none), and the advice.
_RENAMED = {
    "return_all_scores": ("top_k", "top_k=None"),
    "topk": ("top_k", "'top_k'"),
    "grouped_entities": ("aggregation_strategy", 'aggregation_strategy="simple"'),
    "ignore_subwords": ("aggregation_strategy", 'aggregation_strategy="first"'),
    "torch_dtype": ("dtype", "'dtype'"),
    "feature_extractor": ("processor", "'processor'"),
    "image_processor": ("processor", "'processor'"),
    "max_tokens": ("max_new_tokens", "'max_new_tokens'"),
    "max_output_tokens": ("max_new_tokens", "'max_new_tokens'"),
    "stop": ("stop_strings", "'stop_strings'"),
    "stop_words": ("stop_strings", "'stop_strings'"),
    "beam_size": ("num_beams", "'num_beams'"),
    "labels": ("candidate_labels", "'candidate_labels'"),
    "candidates": ("candidate_labels", "'candidate_labels'"),
    "template": ("hypothesis_template", "'hypothesis_template'"),
    "multi_class": ("multi_label", "'multi_label'"),
    "language": ("generate_kwargs", 'generate_kwargs={"language": …}'),
    "column": ("input", "'input'"),
    "load_in_8bit": ("quantization_config", 'quantization_config={"load_in_8bit": True}'),
    "load_in_4bit": ("quantization_config", 'quantization_config={"load_in_4bit": True}'),
    "cache_dir": ("model_kwargs", 'model_kwargs={"cache_dir": …}, or the variable HF_HOME'),
    "config": ("model", "model, a directory with a config.json of your own"),
    "streamer": ("", "Leave it out: on a worker there is nobody to stream to."),
    "use_auth_token": ("", "Set the variable HF_TOKEN, here and on the workers."),
    "token": ("", "Set the variable HF_TOKEN, here and on the workers."),
    "framework": ("", "Leave it out: all models run on PyTorch."),
    "num_workers": ("", "Leave it out: the runner's workers preprocess."),
    "binary_output": ("", "Leave it out: the runner stores the results."),
    "pipeline_class": ("", "Use pipeline(…, pipeline_class=…) or CustomPipeline."),
}


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, Sized) and len(value) == 0)


_COMMON = ("max_new_tokens", "do_sample", "temperature", "top_p", "top_k", "num_beams")


def _rarity(name: str) -> tuple[int, str]:
    """A sort key for the keywords of generation: common ones first."""
    return (_COMMON.index(name) if name in _COMMON else len(_COMMON), name)


def _renamed(name: str, valid: Collection[str]) -> str | None:
    """Advice for a former name or the name in another library; else None."""
    now, text = _RENAMED.get(name, (None, ""))
    if now == "":
        return text
    return f"Did you mean {text}?" if now in valid else None


def _is_meant(name: str, options: Collection[str]) -> bool:
    """Whether a name is probably an option with two letters swapped."""
    close = likely(name, options)
    return close is not None and sorted(close) == sorted(name)


def _supported(name: str) -> Mapping[str, Any]:
    from transformers.pipelines import SUPPORTED_TASKS

    entry: Mapping[str, Any] = SUPPORTED_TASKS[name]
    return entry


def named_classes(names: Sequence[str]) -> tuple[Any, ...]:
    """Classes by their names in transformers, or "module:Class"."""
    import transformers

    return tuple(
        getattr(importlib.import_module(module), name) if module else getattr(transformers, name)
        for module, _, name in (each.rpartition(":") for each in names)
    )


def tokenizer_keywords() -> frozenset[str]:
    """The keywords of a tokenizer's call, without its inputs."""
    from transformers import PreTrainedTokenizerBase

    names = frozenset(inspect.signature(PreTrainedTokenizerBase.__call__).parameters)
    names |= {"split_special_tokens"}  # which the call passes on unnamed
    inputs = {"self", "kwargs", "text", "text_pair", "text_target", "text_pair_target"}
    return names - inputs - {"return_tensors"}


def generation_keywords() -> frozenset[str]:
    """The keywords of `model.generate`: its own and every field of GenerationConfig."""
    from transformers import GenerationConfig, GenerationMixin

    names = {name for name in vars(GenerationConfig()) if not name.startswith("_")}
    own = frozenset(inspect.signature(GenerationMixin.generate).parameters)
    return (own | names) - {"self", "inputs", "kwargs", "streamer", "transformers_version"}

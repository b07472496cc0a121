"""What a task is: its inputs, its parameters, its pipeline class and its typed output."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

from ..options.shown import shown
from ..options.suggest import likely, unknown
from .kinds import ALSO_TEXTS, CONDITIONS, YAML_CONDITIONS, kinds, tokenizer_kinds
from .texts import GENERATION, Check, check_values


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
    """One task. Declarations are data: what runs is a transformers pipeline class."""

    name: str
    transform: str
    #: Inputs by name, the first one being the element itself where it is not a mapping.
    inputs: Mapping[str, tuple[type, ...]]
    optional_inputs: frozenset[str] = frozenset()
    #: The task's own parameters with Hugging Face's defaults.
    parameters: Parameters
    #: Parameters, keywords within them and inputs that are texts, and what checks each: kinds.py
    #: has what checks the others.
    texts: Mapping[str, Check] = field(default_factory=dict)
    #: Whether any keyword of the tokenizer's call is a parameter, too.
    tokenizer_keywords: bool = False
    #: Whether any keyword of `model.generate` is a parameter, too.
    generates: bool = False
    #: Whether any other keyword may be a parameter, too: the model's own pipeline decides later.
    open_parameters: bool = False
    #: Whether an input is whatever the pipeline's call takes, or a mapping of any names.
    open_inputs: bool = False
    #: The typed columns of a prediction, given the parameters.
    columns: Callable[[Parameters], Columns]
    #: The columns' values in one inference, given the parameters.
    values: Callable[[Any, Parameters], Mapping[str, Any]]
    #: Inputs that are media, and of what kind: see media/decoding.py.
    media: Mapping[str, str] = field(default_factory=dict)
    #: What a list in the first input is: "chat", "words" of one text where they are asked for, or
    #: the "samples" of one sound; any other list holds several inputs. None: it is no list, or one
    #: input whatever is in it.
    lists: str | None = None
    #: Inputs that are structures, which may come as JSON, each with what makes it of nested rows.
    structures: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    #: Outputs of the model that postprocess reads: no others leave the engine. Empty: all of them.
    outputs: frozenset[str] = frozenset()
    #: Parameters that change the columns, each with a value that does: for the list of tasks.
    choices: Parameters = field(default_factory=dict)
    #: Outputs of the model with one position per token (dimension 1): cut to an element's own
    #: tokens when it leaves a padded batch.
    token_outputs: frozenset[str] = frozenset()
    aliases: tuple[str, ...] = ()
    #: "module:Class" of a pipeline of ours; None: the one that transformers has for `name`. One
    #: whose models are not transformers' has class methods `load` and `weightless`.
    pipeline: str | None = None
    #: Names of transformers' Auto classes that load its model; with a pipeline of ours only.
    model_classes: tuple[str, ...] = ()
    default_model: tuple[str, str] | None = None
    #: Whether it came after the oldest transformers that is allowed: absent where that has it not.
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
        found: type[Any] = getattr(importlib.import_module(module), name)
        return found

    def auto_classes(self) -> tuple[Any, ...]:
        """The Auto classes that can load a model of this task, in order of preference."""
        if not self.model_classes:
            return tuple(_supported(self.name)["pt"])
        return named_classes(self.model_classes)

    def default(self) -> tuple[str, str]:
        """The model and revision that Hugging Face runs when none is named."""
        model = self.default_model or _supported(self.name)["default"]["model"]
        return next(iter(model.values())) if isinstance(model, Mapping) else model

    def check_parameters(self, given: Parameters, options: Collection[str] = ()) -> None:
        """Raises TypeError for a parameter that does not exist or is missing.

        Raises TypeError or ValueError for a value that cannot be right whatever the model is.

        `options`: names that are valid beside the parameters, and may have been meant.
        """
        more: dict[str, Collection[str]] = {}
        if self.tokenizer_keywords:
            more["of the tokenizer's call"] = sorted(tokenizer_keywords())
        if self.generates:
            more["of generate"] = sorted(generation_keywords(), key=_rarity)
        valid = {*self.parameters}.union(*more.values())
        for name in given:
            if name in valid or (self.open_parameters and not _is_meant(name, options)):
                continue
            hint = _renamed(name, valid.union(options))
            more = {"options of every task": options, **more}
            reason = unknown("parameter", name, self.parameters, hint=hint, more=more)
            raise TypeError(f"{self.name}: {reason}")
        for name, default in self.parameters.items():
            if default is REQUIRED and _is_missing(given.get(name)):
                raise TypeError(f"{self.name}: the parameter {name!r} must be given")
        try:
            self._check_values(given)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{self.name}: {error}") from None

    def _check_values(self, given: Parameters) -> None:
        within = {**(GENERATION if self.generates else {}), **self.texts}
        checks = dict(within)
        if not self.open_parameters:
            checks = {**kinds(self.parameters, of_transformers=not self.open_inputs), **within}
        if not self.open_inputs:
            within = {**tokenizer_kinds(), **within}
        if self.tokenizer_keywords:
            checks = {**tokenizer_kinds(), **checks}
        check_values(checks, within, given)
        for name in given.keys() - checks.keys():
            self._check_word(name, given[name])

    def _check_word(self, name: str, value: Any) -> None:
        """Raises TypeError for what was no text before it was put into quotes."""
        words = (*CONDITIONS, *(YAML_CONDITIONS if name in ALSO_TEXTS else ()))
        if isinstance(value, str) and value.lower() in words and not self.open_parameters:
            raise TypeError(f"{name} cannot be the text {shown(value)}: leave out the quotes")

    def is_plain(self, example: Mapping[Any, Any]) -> bool:
        """Whether a mapping is itself the value of the first input, and not a set of inputs."""
        first = next(iter(self.inputs))
        if first in self.media:  # a struct of bytes and path, or of samples
            return not self.inputs.keys() & example.keys()
        return len(self.inputs) == 1 and isinstance(example, self.inputs[first])


#: Names that transformers gave up, or that others have: the parameter or option that is meant
#: (empty: there is none), and what to write.
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
    """A key to sort the parameters of generation by: common ones first."""
    return (_COMMON.index(name) if name in _COMMON else len(_COMMON), name)


def _renamed(name: str, valid: Collection[str]) -> str | None:
    """A hint at what is now in place of a name that others have, or transformers had."""
    now, text = _RENAMED.get(name, (None, ""))
    if now == "":
        return text
    return f"Did you mean {text}?" if now in valid else None


def _is_meant(name: str, options: Collection[str]) -> bool:
    """Whether a name that anything may have is an option with two letters in the wrong order."""
    close = likely(name, options)
    return close is not None and sorted(close) == sorted(name)


def _supported(name: str) -> Mapping[str, Any]:
    from transformers.pipelines import SUPPORTED_TASKS

    found: Mapping[str, Any] = SUPPORTED_TASKS[name]
    return found


def named_classes(names: Sequence[str]) -> tuple[Any, ...]:
    """Classes by their names in transformers, or "module:Class"."""
    import transformers

    return tuple(
        getattr(importlib.import_module(module), name) if module else getattr(transformers, name)
        for module, _, name in (each.rpartition(":") for each in names)
    )


def tokenizer_keywords() -> frozenset[str]:
    """The keywords of a tokenizer's call that say how to tokenize rather than what."""
    from transformers import PreTrainedTokenizerBase

    names = frozenset(inspect.signature(PreTrainedTokenizerBase.__call__).parameters)
    inputs = {"self", "kwargs", "text", "text_pair", "text_target", "text_pair_target"}
    return names - inputs - {"return_tensors"}


def generation_keywords() -> frozenset[str]:
    """The keywords of `model.generate`: its own and every field of GenerationConfig."""
    from transformers import GenerationConfig

    names = {name for name in vars(GenerationConfig()) if not name.startswith("_")}
    return frozenset(names | {"generation_config"}) - {"transformers_version"}

"""What a task is: its inputs, its parameters, its pipeline class and its typed output."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any

from ..names import unknown
from .texts import GENERATION, Check, check_texts, hint


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
    #: Parameters, keywords within them and inputs that are texts, and what checks each.
    texts: Mapping[str, Check] = field(default_factory=dict)
    #: Whether any keyword of the tokenizer's call is a parameter, too.
    tokenizer_keywords: bool = False
    #: Whether any keyword of `model.generate` is a parameter, too.
    generates: bool = False
    #: Whether any other keyword may be a parameter, too: whoever knows says so later.
    open_parameters: bool = False
    #: Whether an input is whatever the pipeline's call takes, or a mapping of any names.
    open_inputs: bool = False
    #: The typed columns of a prediction, given the parameters.
    columns: Callable[[Parameters], Columns]
    #: The columns' values in one inference, given the parameters.
    values: Callable[[Any, Parameters], Mapping[str, Any]]
    #: Inputs that are media, and of what kind: "image", "images", "audio" or "video".
    media: Mapping[str, str] = field(default_factory=dict)
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

    def check_parameters(self, given: Parameters) -> None:
        """Raises TypeError for a parameter that does not exist, is missing, or is no text."""
        valid = set(self.parameters)
        if self.tokenizer_keywords:
            valid |= tokenizer_keywords()
        if self.generates:
            valid |= generation_keywords()
        for name in given:
            if name not in valid and not self.open_parameters:
                raise TypeError(f"{self.name}: {unknown('parameter', name, valid)}")
        for name, default in self.parameters.items():
            if default is REQUIRED and _is_missing(given.get(name)):
                raise TypeError(f"{self.name}: the parameter {name!r} must be given")
        try:
            check_texts({**GENERATION, **self.texts} if self.generates else self.texts, given)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}") from None

    def check_input(self, example: Any) -> None:
        """Raises TypeError for an input that the task cannot take, naming what it can."""
        if self.open_inputs:
            return
        if isinstance(example, Mapping) and not self.is_plain(example):
            for name, value in example.items():
                if name not in self.inputs:
                    raise TypeError(unknown("input", name, self.inputs))
                self._check_one(name, value)
            for name in self.inputs:
                if name not in example and name not in self.optional_inputs:
                    raise TypeError(f"the input {name!r} is missing; got {sorted(example)}")
        elif len(self.inputs) - len(self.optional_inputs) > 1:
            raise TypeError(
                f"must be a mapping with {', '.join(map(repr, self.inputs))}, got {_show(example)}"
            )
        else:
            self._check_one(next(iter(self.inputs)), example)

    def _check_one(self, name: str, value: Any) -> None:
        if value is None and name in self.optional_inputs:
            return
        if name in self.media and value is not None:
            return  # whoever decodes it says what is wrong with it
        if not isinstance(value, self.inputs[name]):
            expected = " or ".join(_TYPE_NAMES.get(t, t.__name__) for t in self.inputs[name])
            raise TypeError(f"{name} must be {expected}, got {_show(value)}{hint(value)}")
        if name in self.texts:
            self.texts[name](name, value)

    def is_plain(self, example: Mapping[Any, Any]) -> bool:
        """Whether a mapping is itself the value of the first input, and not a set of inputs."""
        first = next(iter(self.inputs))
        if first in self.media:  # a struct of bytes and path, or of samples
            return not self.inputs.keys() & example.keys()
        return len(self.inputs) == 1 and isinstance(example, self.inputs[first])


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, Sized) and len(value) == 0)


_TYPE_NAMES: dict[type, str] = {str: "a string", list: "a list", dict: "a mapping"}


def _show(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text[:80]}{'…' if len(text) > 80 else ''}"


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

"""Examples from elements or columns: nested rows flattened, JSON parsed, everything checked."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..options.nested import plain, without_rows
from ..options.shown import shown, typed
from ..options.suggest import unknown
from ..tasks.task import Parameters, Task
from ..tasks.text_checks import hint, list_of_texts
from .chats import (
    A_CHAT,
    begins_like_chat,
    chats_of,
    from_json,
    from_other,
    is_message,
    looks_like_chat,
    may_hold_chat,
)

_JSON = ("[", "{")
#: Fields that distinguish the struct of a file, or of samples, from other mappings.
_STRUCTS = {
    "image": {"bytes", "path"},
    "video": {"bytes", "path"},
    "audio": {"bytes", "path", "array", "raw"},
}
_TYPE_NAMES: dict[type, str] = {str: "a string", list: "a list", dict: "a mapping"}


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Converts elements, or cells of rows, to what the task's pipeline is called with."""

    task: Task
    parameters: Parameters
    #: Whether the values are cells of rows: a row has one prediction, so a list of several inputs
    #: is refused.
    single: bool = False
    #: A string that holds a chat in JSON: True reads the chat, False takes it as a prompt, None
    #: refuses it.
    json_chats: bool | None = None

    def is_text(self, given: Any) -> bool:
        """Whether a value is a string that needs no conversion: the most frequent case."""
        if type(given) is not str or not self._takes_text:
            return False
        return self.task.lists != "chat" or not may_hold_chat(given)

    @functools.cached_property
    def _takes_text(self) -> bool:
        first = next(iter(self.task.inputs))
        as_it_is = self.task.lists in (None, "chat") and first not in self.task.structures
        return as_it_is and str in self.task.inputs[first] and len(self._needed) <= 1

    def of(self, given: Any) -> Any:
        """The example in an element, or in the column of the first input.

        Raises TypeError for a value that the task cannot take, naming the types that it can.
        """
        task = self.task
        if task.open_inputs:
            return without_rows(given) if self.single else given
        value = plain(given)
        first = next(iter(task.inputs))
        if isinstance(value, Mapping) and self._names_inputs(value):
            if task.lists == "chat" and not value.keys() & task.inputs.keys():
                self._check_wrapped(first, value)
            return self.named(value)
        if not self.single and len(self._needed) > 1:
            names = ", ".join(map(repr, task.inputs))
            raise TypeError(f"must be a mapping with {names}, got {typed(value)}")
        one = self._one(first, value, given)
        # A request for decisions is a mapping; a list would be several requests.
        wrap = self.single and len(task.inputs) > 1 and first not in task.media
        return {first: one} if wrap and not isinstance(one, str) else one

    def named(self, given: Mapping[str, Any]) -> Any:
        """The inputs by name; the input alone where there is only one. Raises TypeError."""
        task = self.task
        if task.open_inputs:
            return without_rows(given) if self.single else given
        example = {}
        for name, cell in given.items():
            if name not in task.inputs:
                raise TypeError(unknown("input", name, task.inputs))
            value = plain(cell)
            example[name] = self._one(name, value, cell)
        for name in self._needed:
            if name not in example:
                raise TypeError(f"the input {name!r} is missing; got {', '.join(map(str, given))}")
        only = next(iter(task.inputs))
        return example[only] if len(task.inputs) == 1 else example

    def accepted(self, name: str) -> tuple[type, ...]:
        """The types that an input may have."""
        kinds = self.task.inputs[name]
        if self.task.lists == "words" and self.single:
            kinds = (list,) if self._split else kinds
        return (*kinds, str, dict) if name in self.task.structures else kinds

    def takes(self, columns: Iterable[str]) -> bool:
        """Whether a row with these columns may be an input as it is."""
        task, names = self.task, set(columns)
        first = next(iter(task.inputs))
        struct = names & _STRUCTS.get(task.media.get(first, ""), set())
        return bool(struct) or (names <= task.inputs.keys() and names.issuperset(self._needed))

    def likely(self, fits: Mapping[str, Callable[[tuple[type, ...]], bool]]) -> str:
        """Advice on what `input` could be, given a predicate for the types of each column."""
        needed = self._needed or [next(iter(self.task.inputs))]
        if len(needed) > 1:
            pairs = (f"{name!r}: {name if name in fits else '…'!r}" for name in needed)
            return f"set input={{{', '.join(pairs)}}}"
        (name,) = needed
        fitting = [column for column, fit in fits.items() if fit(self.accepted(name))]
        columns = [name] if name in fits else fitting[:3]
        return (
            f"set input={' or '.join(map(repr, columns))}" if columns else "set input to a column"
        )

    @property
    def _needed(self) -> list[str]:
        return [name for name in self.task.inputs if name not in self.task.optional_inputs]

    @property
    def _split(self) -> bool:
        return bool(self.parameters.get("is_split_into_words"))

    def _names_inputs(self, value: Mapping[Any, Any]) -> bool:
        """Whether a mapping holds inputs by name, and is not itself the first input."""
        task = self.task
        if not self.single:
            return not task.is_plain(value)
        return bool(value) and value.keys() <= task.inputs.keys()

    def _one(self, name: str, value: Any, given: Any) -> Any:
        """One input, checked. `given`: what it was before rows and arrays were read."""
        task = self.task
        if value is None and name in task.optional_inputs:
            return value
        changed, read = self.single or value is not given, value
        if name in task.structures:
            value = task.structures[name](_parsed(value))
        if name == next(iter(task.inputs)) and task.lists is not None:
            value = self._listed(name, value, changed)
        self._check(name, value, given if value is read else value)
        if name in task.texts:
            task.texts[name](name, value)
        return value

    def _listed(self, name: str, value: Any, changed: bool) -> Any:
        """The first input of a task where a list is a chat, words, samples, or several inputs."""
        lists = self.task.lists
        if isinstance(value, str):
            if lists == "chat":
                value = self._of_text(name, value)
            elif lists == "words" and self._split:
                value = _parsed(value)
        if not isinstance(value, list) or self._is_one(value):
            return _without_nones(value) if lists == "chat" and changed else value
        if not self.single and lists != "samples":
            return value  # as many answers as transformers gives
        if lists == "chat" and any(isinstance(each, Mapping) for each in value):
            raise TypeError(f"{name} must be a string or a chat, {A_CHAT}, got {typed(value)}")
        if len(value) == 1:
            return self._listed(name, value[0], changed)
        if lists == "words" and self._split and any(isinstance(word, str) for word in value):
            list_of_texts(name, value)  # raises for the word that is none
        raise TypeError(self._several(name, len(value)))

    def _is_one(self, value: list[Any]) -> bool:
        first = value[0] if value else None
        if self.task.lists == "chat":
            return is_message(first)
        if self.task.lists == "words":
            return self._split and all(isinstance(word, str) for word in value)
        return not isinstance(first, str | bytes | Mapping | np.ndarray) and not hasattr(
            first, "numpy"
        )

    def _several(self, name: str, count: int) -> str:
        one = {"chat": "one text or chat", "words": "one text", "samples": "one sound"}
        hint = ""
        if self.task.lists == "words" and not self._split:
            hint = " is_split_into_words=True takes a list of strings for the words of one text."
        return (
            f"{name} must be {one[self.task.lists or '']}, got a list of {count}: there is one "
            f"prediction for each.{hint} Give each an element of its own, by beam.FlatMap or in "
            "Beam YAML by Explode"
        )

    def _of_text(self, name: str, text: str) -> Any:
        """A prompt; or the chat, if the text is one in JSON."""
        if self.json_chats is False or not may_hold_chat(text):
            return text
        if self.json_chats:
            return self._of_json(name, text)
        if not ("role" in text and "content" in text):
            return text
        try:
            held, form = from_json(text), ""
        except (ValueError, RecursionError):
            held, form = from_other(text), ", though not valid JSON: json.dumps writes it"
        if not looks_like_chat(held):
            return text
        raise TypeError(
            f"{name} is a string that holds a chat in JSON{form}: json_chats=True takes it as that "
            f"chat, json_chats=False as a prompt; got {shown(text)}"
        )

    def _of_json(self, name: str, text: str) -> Any:
        """The chat in a text that may be one in JSON; a text that is none."""
        try:
            held = from_json(text)
        except (ValueError, RecursionError) as error:
            if not begins_like_chat(text):
                return text
            raise TypeError(
                f"{name} looks like a chat in JSON, but is not valid JSON ({error}): {shown(text)}"
            ) from None
        chats = chats_of(held)
        if chats is not None:
            return chats
        if not begins_like_chat(text) and not looks_like_chat(held):
            return text
        raise TypeError(f"{name} must be a chat in JSON, {A_CHAT}, got {shown(text)}")

    def _check_wrapped(self, name: str, value: Any) -> None:
        """Raises TypeError for a mapping that has a chat within, or is one message of it."""
        if not isinstance(value, Mapping) or not looks_like_chat(value):
            return
        advice = "put it into a list" if is_message(value) else "give the list alone"
        raise TypeError(
            f"{name} must be a string or a chat, {A_CHAT}, got {typed(value)}: {advice}"
        )

    def _check(self, name: str, value: Any, given: Any) -> None:
        """Raises TypeError for an input of a wrong type. `given`: what to call it."""
        task = self.task
        if task.lists == "chat" and name == next(iter(task.inputs)):
            self._check_wrapped(name, value)
        kind = task.media.get(name)
        if kind in _STRUCTS and isinstance(value, Mapping) and not value.keys() & _STRUCTS[kind]:
            names = " or ".join(sorted(_STRUCTS[kind]))
            raise TypeError(f"{name}: a mapping must have {names}, got {typed(value)}")
        if kind is not None and value is not None:
            return  # the decoder says what is wrong with it
        kinds = self.accepted(name) if task.lists == "words" else task.inputs[name]
        if not isinstance(value, kinds):
            expected = " or ".join(_TYPE_NAMES.get(t, t.__name__) for t in kinds)
            more = ", or its JSON" if name in task.structures and str not in kinds else ""
            raise TypeError(f"{name} must be {expected}{more}, got {typed(given)}{hint(value)}")


def _parsed(value: Any) -> Any:
    """The structure in a string of JSON; any other value unchanged."""
    if not isinstance(value, str) or not value.lstrip().startswith(_JSON):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _without_nones(value: Any) -> Any:
    """A chat without the null fields of its messages and blocks.

    All structs of a column have the same fields, so a block of text has an image that is null, and
    chat templates would show it.
    """
    return [_message(each) for each in value] if isinstance(value, list) else value


def _message(message: Any) -> Any:
    if not isinstance(message, Mapping):
        return message
    fields = {k: v for k, v in message.items() if v is not None or k in ("role", "content")}
    if isinstance(fields.get("content"), list):
        fields["content"] = [_block(block) for block in fields["content"]]
    return fields


def _block(block: Any) -> Any:
    if not isinstance(block, Mapping):
        return block
    return {name: value for name, value in block.items() if value is not None}

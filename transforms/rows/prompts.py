"""Prompts that are written once, with columns of each row in them: Jinja templates."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ..options.nested import plain
from ..options.shown import shown, typed
from ..options.suggest import unknown
from .chats import is_message

#: A template that is one column and nothing else.
_ONE_COLUMN = re.compile(r"\s*\{\{\s*([^\W\d]\w*)\s*\}\}\s*")
#: Inputs that may be made of a template, by their names.
_TEXT_INPUTS = ("text", "prompt", "question", "query")
_RAW = (
    "in a job file, whose own {{ }} are filled in when it is read, write "
    "{% raw %}{{ column }}{% endraw %}"
)


def text_input(inputs: Mapping[str, tuple[type, ...]]) -> str | None:
    """The name of the input that a prompt fills; None if a task takes no text."""
    return next((name for name in _TEXT_INPUTS if str in inputs.get(name, ())), None)


def prompt_of(prompt: Any, messages: Any) -> Prompt | None:
    """The prompt that the options `prompt` and `messages` describe, if one of them is given.

    Raises TypeError or ValueError for one that is no valid template.
    """
    if prompt is not None and messages is not None:
        raise ValueError("prompt and messages exclude each other: a prompt is one text")
    if prompt is not None:
        if not isinstance(prompt, str):
            raise TypeError(f"prompt must be a text with {{{{ column }}}}, got {typed(prompt)}")
        return Prompt("prompt", prompt)
    return None if messages is None else Prompt("messages", messages)


@dataclass(frozen=True)
class Prompt:
    """A text, or the messages of a chat, in which columns of a row stand as {{ column }}.

    Raises:
      TypeError: the messages are not a list of messages.
      ValueError: a template is not valid, or none of them has a column.

    """

    #: The name of the option that it was given as: "prompt" or "messages".
    option: str
    template: Any

    def __post_init__(self) -> None:
        if self.option == "messages":
            self._check_messages()
        if not self.columns:
            raise ValueError(
                f"{self.option} has no column: write {{{{ column }}}} where the value of a column "
                f"goes; {_RAW}. Got {shown(self.template)}"
            )

    def _check_messages(self) -> None:
        messages = self.template
        if not isinstance(messages, list | tuple) or not messages:
            raise TypeError(
                f"messages must be a list of messages with role and content, got {typed(messages)}"
            )
        for i, message in enumerate(messages):
            is_column = isinstance(message, str) and _ONE_COLUMN.fullmatch(message)
            if not is_message(message) and not is_column:
                raise TypeError(
                    f"messages[{i}] must be a message with role and content, or {{{{ column }}}} "
                    f"for a column of messages, got {typed(message)}"
                )

    @functools.cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads, in alphabetical order."""
        found: set[str] = set()
        for where, text in _texts(self.option, self.template):
            found |= _columns(where, text)
        return tuple(sorted(found))

    def filled(self, row: Mapping[str, Any]) -> Any:
        """The text, or the chat, of a row, given its cells by column.

        Raises TypeError for a row that lacks a column, or has a value that cannot be part of a
        text: None, bytes, or what the template itself refuses.
        """
        for column in self.columns:
            if column not in row:
                raise TypeError(unknown("column", column, map(str, row)))
        cells = {column: _cell(row[column]) for column in self.columns}
        try:
            return _filled(self.template, cells)
        except Exception as error:  # a template may raise anything
            missing = ", ".join(name for name, cell in cells.items() if cell is None)
            more = f" (None in this row: {missing})" if missing else ""
            raise TypeError(f"{self.option}: {error}{more}") from error


def _cell(value: Any) -> Any:
    """A cell as templates see it. NaN is pandas' None."""
    value = plain(value)
    return None if _is_nan(value) else value


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _texts(where: str, value: Any) -> Iterator[tuple[str, str]]:
    """The templates in a prompt, with the place of each."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _texts(f"{where}[{name!r}]", each)
    elif isinstance(value, list | tuple):
        for i, each in enumerate(value):
            yield from _texts(f"{where}[{i}]", each)


def _filled(value: Any, cells: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return _compiled(value).render(cells)
    if isinstance(value, list | tuple):
        return [each for item in value for each in _items(item, cells)]
    if isinstance(value, Mapping):
        is_medium = value.get("type", "text") != "text"
        return {
            name: _cell_or_text(each, cells) if is_medium else _filled(each, cells)
            for name, each in value.items()
        }
    return value


def _items(item: Any, cells: Mapping[str, Any]) -> list[Any]:
    """What an item of a list becomes: the items of a column that holds a list, else one."""
    if isinstance(item, str):
        item = _cell_or_text(item, cells)
        return item if isinstance(item, list) else [item]
    return [_filled(item, cells)]


def _cell_or_text(value: Any, cells: Mapping[str, Any]) -> Any:
    """The value of a column where a template is nothing else: an image, or a list of messages."""
    one = _ONE_COLUMN.fullmatch(value) if isinstance(value, str) else None
    return _filled(value, cells) if one is None else cells[one[1]]


def _as_text(value: Any) -> Any:
    """What {{ }} writes, if it may be part of a text."""
    if value is None or _is_nan(value):
        raise TypeError("a value is None: write {{ column or '' }} where it may be missing")
    if isinstance(value, bytes | bytearray):
        raise TypeError(f"bytes cannot be part of a text, got {typed(value)}")
    # What is undefined can be called, and says itself what is wrong.
    if callable(value) and not isinstance(value, jinja2.Undefined):
        raise TypeError(f"a method cannot be part of a text, got {typed(value)}")
    return value


class _Environment(ImmutableSandboxedEnvironment):
    """Templates that see the fields of structs, whatever their names: `order.items`, too."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


_ENVIRONMENT = _Environment(
    undefined=jinja2.StrictUndefined,
    finalize=_as_text,
    keep_trailing_newline=True,
    autoescape=False,
)
_ENVIRONMENT.globals.clear()  # else a column named range would be a function


@functools.cache
def _compiled(text: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(text)


def _columns(where: str, text: str) -> set[str]:
    """The columns that a template reads. Raises ValueError, naming the place."""
    try:
        _compiled(text)
        return meta.find_undeclared_variables(_ENVIRONMENT.parse(text))
    except jinja2.TemplateError as error:
        line = getattr(error, "lineno", 1)
        raise ValueError(f"{where}, line {line}: {error}: {shown(text)}") from error

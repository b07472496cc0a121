"""Parameters and inputs that are texts, and what else comes in their place.

YAML reads yes, no, on, off, null, numbers and dates as other things than texts, and a pipeline that
formats them into a text answers another question.
"""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from ..options.shown import shown, typed

#: Raises TypeError, naming the item, for a value that cannot be right: (name, value).
Check: TypeAlias = Callable[[str, Any], None]

_SCALARS = (bool, int, float, complex, decimal.Decimal, datetime.date, datetime.time)


def text(name: str, value: Any) -> None:
    """One text."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {typed(value)}{hint(value)}")


def texts(name: str, value: Any) -> None:
    """One text, or a flat list of texts."""
    if isinstance(value, str):
        return
    if not _is_list(value):
        raise TypeError(
            f"{name} must be a string or a list of strings, got {typed(value)}{hint(value)}"
        )
    for i, item in enumerate(value):
        text(f"{name}[{i}]", item)


def questions(name: str, value: Any) -> None:
    """Questions of the task "decision": what they and their options are called, and say."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise TypeError(
                f"{name} must be a mapping or its JSON, got {shown(value)}: {error}"
            ) from error
    if not isinstance(value, Mapping):
        return  # the pipeline says what it takes
    for key, question in value.items():
        text(f"a name in {name}", key)
        if isinstance(question, Mapping):
            _question(f"{name}[{key!r}]", question)


def _question(name: str, question: Mapping[Any, Any]) -> None:
    for key, value in question.items():
        text(f"a key of {name}", key)
        said = f"{name}[{key!r}]"
        if key != "criteria":
            _content(said, value)
        elif isinstance(value, Mapping):
            for option, description in value.items():
                text(f"an option in {said}", option)
                _content(f"{said}[{option!r}]", description)
        elif _is_list(value):
            for i, level in enumerate(value):
                _content(f"{said}[{i}]", level)


def _content(name: str, value: Any) -> None:
    """A text; or a mapping or list, which is shown as JSON."""
    if isinstance(value, _SCALARS) or hasattr(value, "dtype"):
        text(name, value)


#: Keywords of `generate`: GenerationConfig's own, and Whisper's.
GENERATION: Mapping[str, Check] = {"stop_strings": texts, "language": texts, "task": text}


def check_texts(checks: Mapping[str, Check], given: Mapping[str, Any]) -> None:
    """Check parameters, and keywords within one: generate_kwargs and the like."""
    for name, value in given.items():
        if value is None:
            continue
        if name in checks:
            checks[name](name, value)
        elif isinstance(value, Mapping):
            for keyword in checks.keys() & value.keys():
                if value[keyword] is not None:
                    checks[keyword](f"{name}[{keyword!r}]", value[keyword])


def hint(value: Any) -> str:
    """What to do about a value that may have been a word in YAML."""
    if value is None or isinstance(value, _SCALARS):
        return "; in YAML, yes, no, on, off, null, numbers and dates are texts only in quotes"
    return ""


def _is_list(value: Any) -> bool:
    return isinstance(value, Collection) and not isinstance(value, Mapping | bytes | bytearray)

"""Checks of parameters and inputs that must be strings.

YAML does not read unquoted yes, no, on, off, null, numbers and dates as strings. A pipeline that
formats such a value into a prompt would answer a different question.
"""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from ..options.shown import shown, typed

#: Called with (name, value): raises TypeError, naming the item, for a value that is not valid.
Check: TypeAlias = Callable[[str, Any], None]

_QUOTES = "; in YAML, yes, no, on, off, null, numbers and dates are texts only in quotes"
_SCALARS = (bool, int, float, complex, decimal.Decimal, datetime.date, datetime.time)


class MissingTextError(TypeError):
    """A value is None where a string is required."""


def text(name: str, value: Any) -> None:
    """One string."""
    if value is None:
        raise MissingTextError(f"{name} must be a string, got None")
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {typed(value)}{hint(value)}")


def texts(name: str, value: Any) -> None:
    """One string, or a flat list of strings."""
    if not isinstance(value, str):
        _listed(name, value, "a string or a list of strings")


def labels(name: str, value: Any) -> None:
    """Candidate labels: a flat list of strings, or one string with labels between its commas."""
    texts(name, value)
    if isinstance(value, str) and value and not value.replace(",", "").strip():
        raise ValueError(f"{name} must have a label between its commas, got {typed(value)}")


def list_of_texts(name: str, value: Any) -> None:
    """A flat list of strings: in a single string, transformers would look for substrings."""
    if isinstance(value, str):
        raise TypeError(f"{name} must be a list of strings, got {typed(value)}: write [{value!r}]")
    _listed(name, value, "a list of strings")


def _listed(name: str, value: Any, what: str) -> None:
    if not _is_list(value):
        order = ": make a list of it" if isinstance(value, Iterable) else ""
        raise TypeError(f"{name} must be {what}, got {typed(value)}{order}{hint(value)}")
    for i, item in enumerate(value):
        text(f"{name}[{i}]", item)


def template(name: str, value: Any) -> None:
    """One string with {} as the placeholder of a label."""
    text(name, value)
    try:
        is_template = value.format("a") != value.format("b")
    except (IndexError, KeyError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{name} must have {{}} where the label goes, and no other braces, got {typed(value)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not is_template:
        raise ValueError(f"{name} must have {{}} where the label goes, got {typed(value)}")


def questions(name: str, value: Any) -> None:
    """The questions of the task "decision": names, options and descriptions must be strings."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise TypeError(
                f"{name} must be a mapping or its JSON, got {shown(value)}: {error}"
            ) from error
    if not isinstance(value, Mapping):
        return  # the pipeline's own error says what it accepts
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
    """A string; a mapping or list is allowed, too: it is formatted as JSON."""
    if isinstance(value, _SCALARS) or hasattr(value, "dtype"):
        text(name, value)


#: Keywords of `generate`: GenerationConfig's own, and Whisper's.
GENERATION: Mapping[str, Check] = {"stop_strings": texts, "language": texts, "task": text}


def check_values(
    checks: Mapping[str, Check], within: Mapping[str, Check], given: Mapping[str, Any]
) -> None:
    """Check parameters, and the keywords inside mappings such as generate_kwargs.

    Args:
      checks: by the name of the parameter.
      within: by the name of a keyword inside a parameter that is a mapping.
      given: the parameters and their values; those that are None are not checked.

    """
    for name, value in given.items():
        if value is None:
            continue
        if name in checks:
            try:
                checks[name](name, value)
            except MissingTextError as error:
                # In data a value may be missing; in a parameter it was made so by YAML.
                raise TypeError(f"{error}{_QUOTES}") from None
        if isinstance(value, Mapping) and checks.get(name) is not questions:
            for keyword in within.keys() & value.keys():
                if value[keyword] is not None:
                    within[keyword](f"{name}[{keyword!r}]", value[keyword])


def hint(value: Any) -> str:
    """Advice for a value that may have been an unquoted word in YAML; else empty."""
    return _QUOTES if isinstance(value, _SCALARS) else ""


def _is_list(value: Any) -> bool:
    """Whether a value is an ordered collection that can be pickled."""
    if isinstance(value, Mapping | bytes | bytearray):
        return False
    return isinstance(value, Sequence) or (
        isinstance(value, Collection) and hasattr(value, "dtype")
    )

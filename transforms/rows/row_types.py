"""Columns and keys of elements, as far as their types declare them when the pipeline is built."""

from __future__ import annotations

import collections.abc
import datetime
import decimal
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np
from apache_beam.typehints import typehints
from apache_beam.typehints.native_type_compatibility import convert_to_python_type
from apache_beam.typehints.row_type import GeneratedClassRowTypeConstraint, RowTypeConstraint

from ..options.nested import dataclass_names

#: Types without subclasses that could be an input of another type.
_KNOWN = (
    *(str, bytes, int, float, bool, np.number, np.bool_, decimal.Decimal),
    *(datetime.date, datetime.time, datetime.timedelta),
)
_UNIONS = (typing.Union, types.UnionType)


def fields_of(element_type: Any) -> dict[str, Any] | None:
    """The columns of rows of a type, with their types; None if the type does not declare them.

    It knows Beam's row types, NamedTuples, dataclasses and TypedDicts, also in a union with None.
    The columns of a namedtuple without annotations have the type Any.
    """
    kind = without_none(element_type)
    if isinstance(kind, RowTypeConstraint):
        # A class that Beam generated has less precise annotations than the fields.
        made = isinstance(kind, GeneratedClassRowTypeConstraint)
        own = {} if made else _declared(kind.user_type) or {}
        return {name: own.get(name, field) for name, field in kind._fields}
    return _declared(kind)


def is_typed_dict(element_type: Any) -> bool:
    """Whether a type is a TypedDict."""
    return typing.is_typeddict(without_none(element_type))


def without_none(kind: Any) -> Any:
    """T for T | None; another type as it is."""
    kind = python_type(kind)
    kinds = kinds_of(kind)
    return python_type(kinds[0]) if len(kinds) == 1 else kind


def pair_of(element_type: Any) -> tuple[Any, Any] | None:
    """The types of key and value, Any if unknown; None if elements of the type are not pairs."""
    kind = without_none(element_type)
    if typing.get_origin(kind) is tuple:
        arguments = typing.get_args(kind)
        if Ellipsis in arguments:
            return typehints.Any, typehints.Any
        return (arguments[0], arguments[1]) if len(arguments) == 2 else None
    if kind in _KNOWN or _is_mapping(kind) or fields_of(kind) is not None:
        return None
    return typehints.Any, typehints.Any


def is_no_row(element_type: Any) -> bool:
    """Whether elements of a type are certainly not rows."""
    kind = without_none(element_type)
    if kind in _KNOWN:
        return True
    return _is_sequence(kind) and fields_of(kind) is None


def fits(kind: Any, accepted: tuple[type, ...]) -> bool:
    """Whether values of a column's type may be an input of the accepted types.

    True if it is unknown: the values are checked later.
    """
    kind = python_type(kind)
    kinds = kinds_of(kind)
    if kinds != [kind]:
        return not kinds or any(fits(each, accepted) for each in kinds)
    if fields_of(kind) is not None or _is_mapping(kind):
        return issubclass(dict, accepted)
    if _is_sequence(kind):
        return issubclass(list, accepted) or issubclass(np.ndarray, accepted)
    return not (isinstance(kind, type) and issubclass(kind, _KNOWN)) or issubclass(kind, accepted)


def kinds_of(kind: Any) -> list[Any]:
    """The types in a union, without None; or the type alone."""
    if typing.get_origin(kind) not in _UNIONS:
        return [kind]
    return [each for each in typing.get_args(kind) if each is not type(None)]


def _is_mapping(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _is_sequence(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    sequence = (collections.abc.Sequence, collections.abc.Set)
    plain = isinstance(origin, type) and issubclass(origin, sequence)
    return plain and not issubclass(origin, str | bytes | bytearray)


def python_type(kind: Any) -> Any:
    """The Python type for one of Beam's type constraints; other types unchanged."""
    if not isinstance(kind, typehints.TypeConstraint) or isinstance(kind, RowTypeConstraint):
        return kind
    try:
        return convert_to_python_type(kind)
    except ValueError:  # there is none, as for Beam's Collection
        return typehints.Any


@functools.cache
def _declared(kind: Any) -> dict[str, Any] | None:
    """The fields of a class of rows."""
    if not isinstance(kind, type):
        return None
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names: tuple[str, ...] = kind._fields
    elif (own := dataclass_names(kind)) is not None:
        names = own
    elif typing.is_typeddict(kind):
        names = tuple(kind.__annotations__)
    else:
        return None
    try:
        hints = typing.get_type_hints(kind)
    except (NameError, TypeError):  # annotations that only type checkers can resolve
        hints = {}
    return {name: hints.get(name, typehints.Any) for name in names}

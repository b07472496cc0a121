"""The form that generated answers must have: a JSON schema or a regular expression.

A schema is also the type of a column: objects with named properties are structs, lists are lists.
Where no column has the type of a schema, as of an object with any properties, its JSON is a string.
"""

from __future__ import annotations

import json
import keyword
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..options.shown import shown, typed

Schema = Mapping[str, Any]
_SCALARS: Mapping[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}
#: A schema has one of them, at least.
_KEYWORDS = {"type", "properties", "anyOf", "oneOf", "allOf", "enum", "const", "$ref"}
#: How deeply schemas may refer to each other; what lies deeper is given as JSON.
_DEPTH = 12


class ResponseFormatError(ValueError):
    """An answer does not have the form that was asked for."""


def normal(given: Any) -> Schema | str:
    """A JSON schema as a mapping, or a regular expression as a string.

    Args:
      given: a JSON schema; a class of pydantic; a regular expression; or a schema in the form that
        servers with OpenAI's interface take.

    Raises TypeError or ValueError for what is none of them.

    """
    if isinstance(given, str | re.Pattern):
        text = given if isinstance(given, str) else str(given.pattern)
        if not text:
            raise ValueError("response_format: the regular expression is empty")
        return text
    if hasattr(given, "model_json_schema"):
        given = given.model_json_schema()
    if not isinstance(given, Mapping):
        raise TypeError(
            "response_format must be a JSON schema, a class of pydantic or a regular expression, "
            f"got {typed(given)}"
        )
    given = given.get("json_schema", given)
    schema = given.get("schema", given)
    try:
        found: Schema = json.loads(json.dumps(schema))
    except (TypeError, ValueError) as error:
        raise TypeError(f"response_format is no JSON: {error}: {shown(schema)}") from None
    if not found.keys() & _KEYWORDS:
        raise ValueError(
            "response_format: a JSON schema has a type, properties, enum, const, anyOf, oneOf, "
            f"allOf or $ref, got {shown(found)}"
        )
    closed: Schema = _closed(found)
    return closed


def _closed(schema: Any) -> Any:
    """The schema with no other properties of objects than those that it names.

    A struct would lose them. Objects that say what other properties they have keep them. A schema
    with properties and no type is one of objects: otherwise 5 would fit it.
    """
    if isinstance(schema, list):
        return list(map(_closed, schema))
    if not isinstance(schema, Mapping):
        return schema
    found = {name: _closed_within(name, each) for name, each in schema.items()}
    if isinstance(found.get("properties"), Mapping):
        kind = found.setdefault("type", "object")
        if kind == "object" or (isinstance(kind, list) and "object" in kind):
            found.setdefault("additionalProperties", False)
    return found


def _closed_within(name: str, value: Any) -> Any:
    """The value of a keyword of a schema."""
    if name in ("enum", "const", "default", "examples"):
        return value
    if name in ("properties", "$defs", "definitions") and isinstance(value, Mapping):
        return {own: _closed(each) for own, each in value.items()}
    return _closed(value)


@dataclass(frozen=True)
class Shape:
    """The type of a column, and what its values are made of JSON by."""

    kind: Any
    value: Callable[[Any], Any]
    #: False: the text itself is the value.
    is_json: bool = True


def shape_of(form: Schema | str) -> Shape:
    """The column of answers that have a form."""
    return Shape(str, str, is_json=False) if isinstance(form, str) else _shape(form, form, _DEPTH)


def response(shape: Shape, text: str) -> Any:
    """The value in a generated text; one that matches a regular expression is the value.

    Raises ResponseFormatError, with the text, for one that does not fit a schema.
    """
    if not shape.is_json:
        return text
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ResponseFormatError(f"the text is not JSON: {error}: {text}") from None
    try:
        return shape.value(found)
    except (TypeError, KeyError, AttributeError) as error:
        raise ResponseFormatError(f"the text does not fit the schema: {error}: {text}") from None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_AS_JSON = Shape(str, _json)


def _shape(schema: Any, root: Schema, depth: int) -> Shape:
    if not isinstance(schema, Mapping) or depth <= 0:
        return _AS_JSON
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if choices is not None and "properties" not in schema:
        several = "allOf" in schema and len(choices) > 1
        return _AS_JSON if several else _of_choices(choices, root, depth)
    if "$ref" in schema:
        return _shape(_referred(schema["$ref"], root), root, depth - 1)
    if "const" in schema or "enum" in schema:
        return _of_values(schema.get("enum", [schema.get("const")]))
    return _of_type(schema, root, depth)


def _of_type(schema: Schema, root: Schema, depth: int) -> Shape:
    kind = schema.get("type", "object" if "properties" in schema else None)
    if isinstance(kind, list):
        return _of_choices([{**schema, "type": each} for each in kind], root, depth)
    if kind == "object":
        return _of_object(schema, root, depth)
    if kind == "array" and "prefixItems" not in schema and "items" in schema:
        return _list(_shape(schema["items"], root, depth - 1))
    return Shape(_SCALARS[kind], _checked(_SCALARS[kind])) if kind in _SCALARS else _AS_JSON


def _checked(kind: type) -> Callable[[Any], Any]:
    def value(found: Any) -> Any:
        if kind is float and type(found) is int:
            return float(found)
        if type(found) is not kind:
            raise TypeError(f"{shown(found)} is not of the type {kind.__name__}")
        return found

    return value


def _list(item: Shape) -> Shape:
    kind: Any = Sequence[item.kind]  # type: ignore[name-defined]
    return Shape(kind, lambda values: list(map(item.value, values)))


def _optional(shape: Shape) -> Shape:
    kind = Optional[shape.kind]  # type: ignore[name-defined]  # noqa: UP045 - or Beam's own
    return Shape(kind, lambda value: None if value is None else shape.value(value))


def _of_choices(choices: Sequence[Any], root: Schema, depth: int) -> Shape:
    """One kind of value, which may be null; several kinds are JSON."""
    others = [each for each in choices if not _is_null(each)]
    if len(others) != 1:
        return _AS_JSON
    shape = _shape(others[0], root, depth - 1)
    return shape if len(others) == len(choices) else _optional(shape)


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") == "null"


def _of_values(values: Sequence[Any]) -> Shape:
    kinds = {type(each) for each in values if each is not None}
    if kinds == {int, float}:
        kinds = {float}
    if len(kinds) != 1 or not kinds <= set(_SCALARS.values()):
        return _AS_JSON
    (kind,) = kinds
    shape = Shape(kind, _checked(kind))
    return _optional(shape) if None in values else shape


def _of_object(schema: Schema, root: Schema, depth: int) -> Shape:
    properties = schema.get("properties") or {}
    names_fit = all(_is_name(name) for name in properties)
    if not properties or not names_fit or schema.get("additionalProperties", False) is not False:
        return _AS_JSON
    required = schema.get("required", ())
    shapes = {name: _shape(each, root, depth - 1) for name, each in properties.items()}
    shapes = {
        name: each if name in required or _takes_none(each.kind) else _optional(each)
        for name, each in shapes.items()
    }
    from apache_beam.typehints.row_type import RowTypeConstraint

    kind = RowTypeConstraint.from_fields([(name, each.kind) for name, each in shapes.items()])

    def value(found: Any) -> dict[str, Any]:
        return {
            name: each.value(found[name] if name in required else found.get(name))
            for name, each in shapes.items()
        }

    return Shape(kind, value)


def _takes_none(kind: Any) -> bool:
    return type(None) in typing.get_args(kind)


def _is_name(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_")


def _referred(reference: Any, root: Schema) -> Any:
    """The schema that a reference within the same document names; None for any other."""
    found: Any = root
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    for part in filter(None, reference[1:].split("/")):
        if not isinstance(found, Mapping):  # an item of a list
            return None
        found = found.get(part.replace("~1", "/").replace("~0", "~"), {})
    return found

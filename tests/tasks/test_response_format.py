"""The forms of answers: what is asked for, and the columns that hold it."""

from __future__ import annotations

import re
from typing import Any, Literal

import pyarrow as pa
import pydantic
import pytest

from transforms.rows.schema import arrow_type
from transforms.tasks.response_format import ResponseFormatError, normal, response, shape_of


class Pet(pydantic.BaseModel):
    """An animal."""

    name: str
    legs: int | None
    kind: Literal["cat", "dog"] = "cat"


class Owner(pydantic.BaseModel):
    """Somebody with animals."""

    pets: list[Pet]
    weight: float
    best: Pet | None = None
    notes: dict[str, int] = {}


PET = pa.struct([("name", pa.string()), ("legs", pa.int64()), ("kind", pa.string())])


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("[a-z]+", pa.string()),
        (re.compile("[a-z]+"), pa.string()),
        (Pet, PET),
        (
            Owner,
            pa.struct(
                [
                    ("pets", pa.list_(PET)),
                    ("weight", pa.float64()),
                    ("best", PET),
                    ("notes", pa.string()),
                ]
            ),
        ),
        ({"enum": ["a", "b", None]}, pa.string()),
        ({"enum": [1, 2.5]}, pa.float64()),
        ({"enum": ["a", 1]}, pa.string()),
        ({"type": ["integer", "null"]}, pa.int64()),
        ({"type": ["integer", "string"]}, pa.string()),
        ({"type": "array", "items": {"type": "boolean"}}, pa.list_(pa.bool_())),
        ({"type": "object", "properties": {"not a name": {"type": "string"}}}, pa.string()),
        (
            {"json_schema": {"name": "x", "schema": {"properties": {"a": {"const": 1}}}}},
            pa.struct([("a", pa.int64())]),
        ),
        ({"anyOf": [{"$ref": "#/anyOf/1"}, {"type": "null"}]}, pa.string()),
        (
            {
                "$ref": "#/$defs/node",
                "$defs": {
                    "node": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
            },
            None,
        ),
    ],
)
def test_a_form_is_a_type_of_a_column(form: Any, kind: pa.DataType | None) -> None:
    found = arrow_type(shape_of(normal(form)).kind)
    assert kind is None or found == kind


def test_values_are_those_of_the_text() -> None:
    form = normal(Owner)
    text = '{"pets": [{"name": "Mia", "legs": null}], "weight": 3, "notes": {"a": 1}}'
    assert response(shape_of(form), text) == {
        "pets": [{"name": "Mia", "legs": None, "kind": None}],
        "weight": 3.0,
        "best": None,
        "notes": '{"a": 1}',
    }
    assert response(shape_of("[a-c]+"), "abc") == "abc"


@pytest.mark.parametrize(
    ("form", "text", "reason"),
    [
        (Pet, '{"name": "Mi', r'not JSON.*: \{"name": "Mi'),
        (Pet, '{"name": "Mia"}', "does not fit the schema: 'legs'"),
        (Pet, '{"name": 1, "legs": 2}', "1 is not of the type str"),
        ({"type": "boolean"}, "1", "1 is not of the type bool"),
    ],
)
def test_a_text_without_the_form_is_named(form: Any, text: str, reason: str) -> None:
    with pytest.raises(ResponseFormatError, match=reason):
        response(shape_of(normal(form)), text)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (5, "must be a JSON schema, a class of pydantic or a regular expression, got int 5"),
        ("", "the regular expression is empty"),
        ({"a": 1}, "a JSON schema has a type"),
        ({"type": {1, 2}}, "is no JSON"),
    ],
)
def test_what_is_no_form_is_refused(form: Any, reason: str) -> None:
    with pytest.raises((TypeError, ValueError), match=reason):
        normal(form)


def test_objects_have_no_other_properties_unless_they_say_so() -> None:
    form = normal({"properties": {"a": {"properties": {"b": {}}, "additionalProperties": True}}})
    assert isinstance(form, dict)
    assert form["additionalProperties"] is False
    assert form["properties"]["a"]["additionalProperties"] is True
    assert form["type"] == "object"  # else 5 would fit
    either = normal({"type": ["object", "null"], "properties": {"a": {"type": "integer"}}})
    assert isinstance(either, dict)
    assert either["additionalProperties"] is False

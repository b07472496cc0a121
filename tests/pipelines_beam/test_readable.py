"""Values of any kind as JSON and texts."""

import dataclasses
import datetime
import enum

import numpy as np

from pipelines_beam.readable import as_json, jsonable


@dataclasses.dataclass
class Point:
    x: int


def test_other_values() -> None:
    assert jsonable(np.float32(0.5)) == 0.5
    assert jsonable({1: np.arange(2), "t": (1, {2})}) == {"1": [0, 1], "t": [1, [2]]}
    assert jsonable(Point(3)) == {"x": 3}
    assert jsonable(datetime.date(2024, 5, 1)) == "2024-05-01"
    assert len(jsonable(Exception("x" * 1000))) == 200
    assert as_json(None) is None


class Color(str, enum.Enum):  # noqa: UP042 - as of a library that is older than StrEnum
    RED = "red"


class Text(str):
    __slots__ = ()


def test_texts_and_numbers_of_other_classes_are_whole() -> None:
    long = "x" * 1000
    assert jsonable([Text(long), np.str_(long)]) == [long, long]
    assert as_json({"color": Color.RED}) == '{"color": "red"}'

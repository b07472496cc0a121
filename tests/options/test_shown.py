"""Messages show the beginning of a value: never a whole file, however deep it lies in a row."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pytest

from transforms.media import audio, fetch, image, video
from transforms.media.fetch import MediaError
from transforms.options.media_limits import MediaLimits
from transforms.options.nested import plain
from transforms.options.shown import shown
from transforms.rows.binding import Binding
from transforms.rows.inputs import Inputs
from transforms.stages.failure_rows import ElementError, failure
from transforms.tasks import find
from transforms.tasks.columns import Audio

FILE = b"\x89PNG" + bytes(200_000)
LONG = "word " * 50_000


@dataclasses.dataclass
class Photo:
    bytes: bytes
    path: Any = None


class Row(NamedTuple):
    id: int
    photo: Any


HEAVY: dict[str, Any] = {
    "bytes": FILE,
    "bytearray": bytearray(FILE),
    "text": LONG,
    "dict": {"id": 1, "photo": {"bytes": FILE, "path": None}},
    "mapping": MappingProxyType({"photo": FILE}),
    "Row": beam.Row(id=1, photo=beam.Row(bytes=FILE)),
    "NamedTuple": Row(1, Audio(FILE, None)),
    "dataclass": Photo(FILE),
    "list": [FILE, FILE],
    "tuple": ("key", Row(1, FILE)),
    "samples": [0.0] * 50_000,
    "array": np.zeros(500_000),
    "objects": np.array([FILE, LONG], object),
    "texts": [LONG] * 3,
    "many": {f"c{i}": FILE for i in range(100)},
}


@pytest.mark.parametrize("kind", HEAVY)
def test_a_value_is_cut(kind: str) -> None:
    value = HEAVY[kind]
    assert len(shown(value)) < 120
    error = ElementError.of("task", "stage", value, ValueError("no"))
    assert len(str(error)) < 600
    # What a library says may hold it all.
    row = failure("stage", value, ValueError(f"cannot use {value!r}"))
    # A mappingproxy cannot be pickled: Beam could not hand it on.
    assert row.element is value or (kind == "mapping" and len(row.element) < 2_100)
    assert len(row.message) < 2_100
    assert len(row.traceback) < 21_000
    assert "cannot use" in row.message
    assert len(str(ElementError.of("task", "stage", value, ValueError(repr(value))))) < 3_000


def test_what_is_cut_says_how_much_there_is() -> None:
    assert shown({"photo": FILE}, 300).endswith("… (200004 bytes)}")
    assert shown(beam.Row(id=1, photo=FILE), 300).startswith("Row(id=1, photo=b'\\x89PNG")
    assert shown(Row(1, b"x")) == "Row(id=1, photo=b'x')"
    assert shown([1.0] * 100, 200).endswith("… (80 more)]")
    assert shown(["a" * 100], 200) == f"[{'a' * 100!r}]"
    assert shown(["a" * 300], 200).endswith(" characters)")
    assert shown(np.zeros((2, 3))) == "array float64 (2, 3)"


@pytest.mark.parametrize("kind", HEAVY)
def test_no_message_of_an_input_is_long(kind: str) -> None:
    value, limits = HEAVY[kind], MediaLimits()

    def said(call: Any, *args: Any) -> None:
        message = ""
        try:
            call(*args)
        except (TypeError, ValueError) as error:
            message = str(error)
        assert len(message) < 700

    for name in (
        "text-classification",
        "question-answering",
        "token-classification",
        "text-generation",
    ):
        task = find(name)
        for single in (False, True):
            inputs = Inputs(task=task, parameters={}, single=single)
            said(inputs.of, value)
            said(inputs.named, {next(iter(task.inputs)): value})
        said(Binding(task=task, parameters={}).example, value)
    binding = Binding(task=find("text-classification"), parameters={}, input="text")
    said(binding.example, value)
    said(binding.example, {"text": value})
    said(Binding(task=find("text-classification"), parameters={}, keyed=True).example, value)
    taken = plain(value)
    said(image.decode, taken, limits)
    said(video.decode, taken, limits)
    said(audio.decode, taken, 16_000, limits)
    said(fetch.read, {"bytes": taken}, 1_000, "image")
    said(fetch.read, {"path": taken}, 1_000, "image")
    said(fetch.read, {"photo": taken}, 1_000, "image")


def test_samples_that_are_no_numbers_are_not_repeated() -> None:
    with pytest.raises(MediaError) as refused:
        audio.decode([LONG, LONG], 16_000, MediaLimits())
    assert len(str(refused.value)) < 400

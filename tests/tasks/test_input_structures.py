"""Structured inputs: whatever rows make of them, they are what transformers takes."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from transforms.rows.inputs import Inputs
from transforms.tasks import find


class WordBox(NamedTuple):
    word: str
    box: list[int]


def test_words_with_boxes_are_pairs_whatever_rows_make_of_them() -> None:
    inputs = Inputs(task=find("document-question-answering"), parameters={}, single=True)
    expected = [["Total", [1, 2, 3, 4]], ["12", [5, 6, 7, 8]]]
    kinds: list[Any] = [
        [("Total", (1, 2, 3, 4)), ("12", (5, 6, 7, 8))],
        [WordBox("Total", [1, 2, 3, 4]), WordBox("12", [5, 6, 7, 8])],
        [{"box": [1, 2, 3, 4], "word": "Total"}, {"box": [5, 6, 7, 8], "word": "12"}],
        [
            beam.Row(text="Total", bbox=beam.Row(x0=1, y0=2, x1=3, y1=4)),
            beam.Row(text="12", bbox=beam.Row(x0=5, y0=6, x1=7, y1=8)),
        ],
        json.dumps(expected),
        np.array([*expected, None], object)[:2],
    ]
    for each in kinds:
        found = inputs.named({"question": "how much?", "word_boxes": each})
        assert found["word_boxes"] == expected


class Images(NamedTuple):
    left: bytes
    right: bytes


def test_pairs_of_images_are_lists_whatever_rows_make_of_them() -> None:
    inputs = Inputs(task=find("keypoint-matching"), parameters={}, single=True)
    struct = {"bytes": b"x", "path": None}
    for each in (Images(b"a", b"b"), beam.Row(first=b"a", second=b"b"), (b"a", b"b"), [b"a", b"b"]):
        assert inputs.of(each) == [b"a", b"b"]
    assert inputs.of([struct, beam.Row(**struct)]) == [struct, struct]
    assert inputs.of('["a.png", "b.png"]') == ["a.png", "b.png"]

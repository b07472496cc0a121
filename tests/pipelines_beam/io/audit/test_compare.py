"""How far one prediction is from another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines_beam.io.audit.compare import OTHER, SAME, Difference, compare
from transforms.rows.files import png, wav

CAT, DOG = {"label": "cat", "score": 0.6}, {"label": "dog", "score": 0.4}
BOX = {"xmin": 200, "ymin": 10, "xmax": 300, "ymax": 50}
DOG_AT = {**DOG, "box": BOX}
NEAR = {"label": "cat", "score": 0.75, "box": {"xmin": 0, "ymin": 0, "xmax": 5, "ymax": 5}}
FAR = {**NEAR, "box": BOX}
AT = {"x": 7, "y": 8}
POINT = {"keypoint_image_0": AT, "keypoint_image_1": {"x": 70, "y": 80}, "score": 0.5}
LEFT = {**POINT, "keypoint_image_1": AT}
WORD = {"entity": "PER", "score": 0.9, "word": "Ann", "index": 1, "start": 0, "end": 3}


def grey(level: int, size: tuple[int, int] = (4, 4)) -> dict[str, Any]:
    return {"bytes": png(Image.new("L", size, level)), "path": None}


def tone(factor: float) -> dict[str, Any]:
    return {"bytes": wav(factor * np.sin(np.arange(800.0)), 8000), "path": None}


@pytest.mark.parametrize(
    ("answer", "reference", "flips", "size"),
    [
        ({"label": "cat", "score": 0.75}, {"label": "cat", "score": 0.5}, False, 0.25),
        ({"label": "cat", "score": 0.5}, {"label": "dog", "score": 0.5}, True, 0.0),
        # Rankings: the first label decides, and scores are compared by label.
        ([CAT, DOG], [CAT, DOG], False, 0.0),
        ([DOG, CAT], [CAT, DOG], True, 0.0),
        ([CAT, DOG], [CAT, {"label": "ant", "score": 0.3}], False, 0.0),
        (
            {"labels": ["cat", "dog"], "scores": [0.75, 0.25]},
            {"labels": ["dog", "cat"], "scores": [0.5, 0.5]},
            True,
            0.25,
        ),
        # What has a place is compared item by item.
        ([WORD], [WORD, WORD], True, 0.0),
        ([WORD, {**WORD, "entity": "ORG"}], [WORD, {**WORD, "entity": "LOC"}], True, 0.0),
        ([{**CAT, "box": BOX}], [{**CAT, "box": {**BOX, "xmax": 303}}], False, 3 / 303),
        ([{**CAT, "mask": grey(0)}], [{**CAT, "mask": grey(51)}], False, 0.2),
        # Boxes and points of nearly the same score may change places.
        ([{**DOG, "box": BOX}, {**CAT, "box": BOX}], [{**CAT, "box": BOX}, DOG_AT], False, 0.0),
        ([NEAR, FAR, FAR], [FAR, NEAR, FAR], False, 0.0),
        ([NEAR, {**FAR, "score": 0.8}], [FAR, NEAR], False, 0.05),
        ([{**NEAR, "label": "ant"}, FAR], [FAR, NEAR], True, 0.0),
        ([POINT, LEFT], [LEFT, POINT], False, 0.0),
        ([], [], False, 0.0),
        ([], [CAT], True, 0.0),
        # Texts, with positions that follow from them.
        ({"answer": "yes", "start": 3}, {"answer": "yes", "start": 5}, False, 0.0),
        ({"generated_text": "a b"}, {"generated_text": "a c"}, True, 0.0),
        ({"text": None}, {"text": "a"}, True, 0.0),
        ({"is_large": True}, {"is_large": False}, True, 0.0),
        # Numbers above 1 count relative to the reference.
        ({"score": 110.0}, {"score": 100.0}, False, 0.1),
        ({"score": float("nan")}, {"score": float("nan")}, False, 0.0),
        ({"score": float("nan")}, {"score": 0.5}, True, 0.0),
        # Vectors.
        ({"embedding": [3.0, 4.0]}, {"embedding": [3.0, 4.5]}, False, 0.5 / 29.25**0.5),
        ({"embedding": [[0.0], [1.0]]}, {"embedding": [[0.0], [2.0]]}, False, 0.5),
        ({"embedding": [1.0]}, {"embedding": [1.0, 2.0]}, True, 0.0),
        ({"embedding": [1.0, float("inf")]}, {"embedding": [1.0, 2.0]}, True, 0.0),
        ({"embedding": [0.0, 0.0]}, {"embedding": [0.0, 0.0]}, False, 0.0),
        ([[1.0], [1.0, 2.0]], [[1.0], [1.0, 4.0]], False, 2 / 17**0.5),
        # Files.
        ({"image": grey(255)}, {"image": grey(204)}, False, 0.2),
        ({"image": grey(0)}, {"image": grey(0, (4, 5))}, True, 0.0),
        ({"audio": tone(0.75)}, {"audio": tone(0.5)}, False, 0.5),
        ({"f": {"bytes": b"a", "path": None}}, {"f": {"bytes": b"b", "path": None}}, True, 0.0),
        ({"f": {"bytes": None, "path": None}}, {"f": {"bytes": b"b", "path": None}}, True, 0.0),
        ({"a": 1}, {"b": 1}, True, 0.0),
    ],
)
def test_kinds_of_predictions(answer: Any, reference: Any, flips: bool, size: float) -> None:
    found = compare(answer, reference)
    assert found.flips == flips
    assert found.size == pytest.approx(size, abs=1e-6)


def test_a_row_is_as_far_as_its_farthest_part() -> None:
    assert Difference(size=0.1) | Difference(True, 0.05) == Difference(True, 0.1)
    assert SAME | OTHER == OTHER

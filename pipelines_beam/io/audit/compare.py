"""How far one prediction is from another of the same input: pure functions."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any

import numpy as np

#: What an item of a list of predictions may be named by.
_NAMES = ("label", "entity_group", "entity", "answer", "token_str")
#: Fields of an item with a place of its own: such items are no candidates for one answer.
_PLACED = frozenset({"box", "word"})
#: Fields with the place of an item as numbers. Some such lists are ordered by score, and items with
#: nearly the same score change places: each is compared with the nearest.
_PLACES = ("box", "keypoint_image_0", "keypoint_image_1")
#: Whole numbers that follow from the texts beside them, or are none that can be near each other.
_POSITIONS = frozenset({"start", "end", "index", "token", "mask", "coordinates", "sampling_rate"})
_WAV = b"RIFF"


@dataclass(frozen=True)
class Difference:
    """How far an answer is from the reference."""

    #: Whether it is another answer: another label, another text, another number of items.
    flips: bool = False
    #: The largest difference of its numbers: of scores, the difference; of numbers above 1, the
    #: difference relative to the reference; of vectors and sounds, the distance relative to the
    #: reference's length; of images, the mean difference of the pixels, which are 0 to 1.
    size: float = 0.0

    def __or__(self, other: Difference) -> Difference:
        return Difference(self.flips or other.flips, max(self.size, other.size))


SAME, OTHER = Difference(), Difference(flips=True)


def compare(answer: Any, reference: Any) -> Difference:
    """How far an answer is from the reference: the cells of a row, by their columns, or a value.

    Lists of labels with scores flip if the first label is another one, and their scores are
    compared by label. Other lists are compared item by item, and flip if they have not as many
    items; boxes and points, each with the nearest of its label. Texts flip if they are not equal.
    """
    if isinstance(answer, Mapping) and isinstance(reference, Mapping):
        return _of_mappings(answer, reference)
    if isinstance(answer, list) and isinstance(reference, list):
        return _of_lists(answer, reference)
    if _is_number(answer) and _is_number(reference):
        return _of_numbers(answer, reference)
    return SAME if answer == reference else OTHER


def _of_mappings(answer: Mapping[str, Any], reference: Mapping[str, Any]) -> Difference:
    if {"bytes", "path"} == answer.keys() == reference.keys():
        return _of_files(answer["bytes"], reference["bytes"])
    if answer.keys() != reference.keys():
        return OTHER
    if {"labels", "scores"} <= answer.keys() and _all_lists(answer, reference):
        return _of_lists(_labels(answer), _labels(reference))
    compared = (
        compare(answer[name], reference[name])
        for name in answer
        if name not in _POSITIONS or isinstance(reference[name], Mapping)
    )
    return _joined(compared)


def _all_lists(*columns: Mapping[str, Any]) -> bool:
    return all(isinstance(each[name], list) for each in columns for name in ("labels", "scores"))


def _labels(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Two columns of labels and of their scores as a list of both."""
    pairs = zip(columns["labels"], columns["scores"], strict=True)
    return [{"label": label, "score": score} for label, score in pairs]


def _of_lists(answer: list[Any], reference: list[Any]) -> Difference:
    if _is_ranking(answer) and _is_ranking(reference):
        return _of_rankings(answer, reference)
    one, other = _vector(answer), _vector(reference)
    if one is not None and other is not None:
        return _of_vectors(one, other)
    if len(answer) != len(reference):
        return OTHER
    here, there = _places(answer), _places(reference)
    if here is not None and there is not None and here.shape == there.shape:
        return _of_placed(answer, here, reference, there)
    return _joined(starmap(compare, zip(answer, reference, strict=True)))


def _is_ranking(items: Sequence[Any]) -> bool:
    """Whether a list has candidates for one answer, the best first."""
    if not items or not all(isinstance(each, Mapping) for each in items):
        return False
    fields = items[0].keys()
    names = {_name(each) for each in items}
    is_placed = _PLACED & fields or isinstance(items[0].get("mask"), Mapping)
    return "score" in fields and not is_placed and None not in names and len(names) == len(items)


def _name(item: Mapping[str, Any]) -> Any:
    return next((item[name] for name in _NAMES if item.get(name) is not None), None)


def _of_rankings(
    answer: Sequence[Mapping[str, Any]], reference: Sequence[Mapping[str, Any]]
) -> Difference:
    scores = {_name(each): each["score"] for each in answer}
    compared = [
        compare(scores[name], each["score"])
        for each in reference
        if (name := _name(each)) in scores
    ]
    return _joined(compared) | Difference(_name(answer[0]) != _name(reference[0]))


def _places(items: Sequence[Any]) -> np.ndarray | None:
    """Where each item of a list is, as a row of numbers; None for items that are not at places."""
    if not all(isinstance(each, Mapping) and "word" not in each for each in items):
        return None  # words are in the order of their text
    places = [[each[name] for name in _PLACES if name in each] for each in items]
    if not all(isinstance(part, Mapping) for place in places for part in place):
        return None
    found = _vector([[number for part in place for number in part.values()] for place in places])
    return found if found is not None and found.ndim == 2 else None


def _of_placed(
    answer: Sequence[Mapping[str, Any]],
    here: np.ndarray,
    reference: Sequence[Mapping[str, Any]],
    there: np.ndarray,
) -> Difference:
    """Items at places: each of the reference with the nearest of its label that is left."""
    left: dict[Any, list[int]] = {}
    for i, each in enumerate(answer):
        left.setdefault(_name(each), []).append(i)
    compared = []
    for item, place in zip(reference, there, strict=True):
        same = left.get(_name(item))
        if not same:
            return OTHER
        nearest = same.pop(int(np.abs(here[same] - place).max(axis=1).argmin()))
        compared.append(compare(answer[nearest], item))
    return _joined(compared)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of_numbers(answer: float, reference: float) -> Difference:
    if not (math.isfinite(answer) and math.isfinite(reference)):
        are_same = answer == reference or (math.isnan(answer) and math.isnan(reference))
        return SAME if are_same else OTHER
    return Difference(size=abs(answer - reference) / max(1.0, abs(reference)))


def _vector(items: list[Any]) -> np.ndarray | None:
    """A list of numbers, or of lists of them, as an array; None for any other list."""
    try:
        found = np.asarray(items)
    except ValueError:  # the lists in it have different lengths
        return None
    return found.astype(float) if found.size and found.dtype.kind in "iuf" else None


def _of_vectors(answer: np.ndarray, reference: np.ndarray) -> Difference:
    if answer.shape != reference.shape:
        return OTHER
    if not np.array_equal(np.isfinite(answer), np.isfinite(reference)):
        return OTHER
    length = float(np.linalg.norm(np.nan_to_num(reference)))
    apart = float(np.linalg.norm(np.nan_to_num(answer) - np.nan_to_num(reference)))
    return Difference(size=apart / length if length else min(apart, 1.0))


def _of_files(answer: bytes | None, reference: bytes | None) -> Difference:
    """Images and sounds, by what they show and how they sound."""
    if answer is None or reference is None or answer == reference:
        return SAME if answer == reference else OTHER
    if answer.startswith(_WAV) and reference.startswith(_WAV):
        return _of_vectors(_samples(answer), _samples(reference))
    one, other = _pixels(answer), _pixels(reference)
    if one is None or other is None or one.shape != other.shape:
        return OTHER
    return Difference(size=float(np.abs(one - other).mean()))


def _samples(data: bytes) -> np.ndarray:
    import soundfile

    found: np.ndarray = soundfile.read(io.BytesIO(data))[0]
    return found


def _pixels(data: bytes) -> np.ndarray | None:
    """The pixels of an image, from 0 to 1; None for a file that is none."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            found = np.asarray(image, float)
            return found / (1.0 if image.mode == "1" else 65535.0 if "I" in image.mode else 255.0)
    except UnidentifiedImageError:
        return None


def _joined(differences: Iterable[Difference]) -> Difference:
    return functools.reduce(Difference.__or__, differences, SAME)

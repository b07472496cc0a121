"""Whether two answers are the same: floats up to noise, images up to a grey level."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image


def same(left: Any, right: Any, tolerance: float = 1e-5) -> bool:
    """Equal: text, labels and shapes to the letter, floats within the tolerance."""
    if _are_numbers(left) and _are_numbers(right) and left.dtype == right.dtype:
        return _same_numbers(left, right, tolerance)
    if isinstance(left, torch.Tensor | np.ndarray) and left.ndim:
        left = left.tolist()
    if isinstance(right, torch.Tensor | np.ndarray) and right.ndim:
        right = right.tolist()
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(
            same(left[name], right[name], tolerance) for name in left
        )
    if isinstance(left, list | tuple):
        return (
            isinstance(right, list | tuple)
            and len(left) == len(right)
            and all(same(a, b, tolerance) for a, b in zip(left, right, strict=True))
        )
    if isinstance(left, float) or hasattr(left, "dtype"):
        return math.isclose(float(left), float(right), rel_tol=tolerance, abs_tol=tolerance)
    return bool(left == right)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.ndim > 0 and value.dtype.kind in "iubf"


def _same_numbers(left: NDArray[Any], right: NDArray[Any], tolerance: float) -> bool:
    """As `same` for each number, but for a video's thousands of numbers at once."""
    if left.shape != right.shape or left.dtype.kind in "iub":
        return np.array_equal(left, right)
    left, right = left.astype(float), right.astype(float)
    with np.errstate(invalid="ignore"):
        gap = np.abs(left - right)
        largest = np.maximum(np.abs(left), np.abs(right))
    near = np.isfinite(gap) & (gap <= tolerance * np.maximum(largest, 1.0))
    return bool(np.all(near | (left == right)))


def equal(left: Any, right: Any, tolerance: float = 1e-5) -> bool:
    """As `same`, images within one grey level."""
    if isinstance(left, Image.Image):
        return (
            isinstance(right, Image.Image)
            and left.size == right.size
            and left.mode == right.mode
            and int(np.abs(np.asarray(left, int) - np.asarray(right, int)).max()) <= 1
        )
    if isinstance(left, torch.Tensor | np.ndarray):
        if type(left) is not type(right) or left.shape != right.shape:
            return False
        left, right = np.asarray(left), np.asarray(right)
        # What adds up large numbers to a small one has the noise of the large ones.
        noise = tolerance * max(1.0, float(np.abs(left).max(initial=0.0)))
        return np.allclose(left, right, tolerance, noise)
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(
            equal(left[name], right[name], tolerance) for name in left
        )
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(
            equal(a, b, tolerance) for a, b in zip(left, right, strict=True)
        )
    return same(left, right, tolerance)


def apart(left: Any, right: Any) -> int:
    """The most grey levels between two images of one size."""
    left, right = np.asarray(left, int), np.asarray(right, int)
    assert left.shape == right.shape
    return int(np.abs(left - right).max())

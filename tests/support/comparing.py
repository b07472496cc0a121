"""Whether two answers are the same: floats up to noise, images up to a grey level."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image


def same(left: Any, right: Any, tolerance: float = 1e-5) -> bool:
    """Equal: text, labels and shapes to the letter, floats within the tolerance."""
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

"""Whether two outputs of a model are the same, but for noise in floating-point numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

#: How far a batch may move numbers, by their bytes: a row of a batch is added up in another order.
_TOLERANCES = {8: 1e-6, 4: 1e-3, 2: 3e-2}


def agrees(one: Any, other: Any) -> bool:
    """Whether two outputs are the same, but for noise in floating-point numbers."""
    if isinstance(one, torch.Tensor | np.ndarray):
        return type(one) is type(other) and one.shape == other.shape and _agree(one, other)
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping)
            and one.keys() == other.keys()
            and all(agrees(value, other[name]) for name, value in one.items())
        )
    if isinstance(one, list | tuple):
        return (
            isinstance(other, list | tuple)
            and len(one) == len(other)
            and all(map(agrees, one, other))
        )
    if isinstance(one, float) and isinstance(other, float):
        return _agree(torch.tensor(one), torch.tensor(other))
    if isinstance(one, str | bool | int | float):
        return bool(one == other)
    return True  # it came with the chunk, or is a cache


def _agree(one: Any, other: Any) -> bool:
    """The same of two arrays or tensors of one shape."""
    if isinstance(one, np.ndarray):
        if one.dtype.kind != "f":
            return bool(np.array_equal(one, other))
        one, other = torch.from_numpy(one.copy()), torch.from_numpy(other.copy())
    if not one.is_floating_point():
        return torch.equal(one, other)
    tolerance = _TOLERANCES.get(one.element_size(), 1e-3)
    return torch.allclose(
        one.double(), other.double(), rtol=tolerance, atol=tolerance, equal_nan=True
    )

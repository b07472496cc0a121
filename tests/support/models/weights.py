"""Random weights of tiny models: the same for a name, whatever the version of torch."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch


def random_values(
    model: torch.nn.Module, name: str
) -> Iterator[tuple[str, torch.nn.Parameter, torch.Tensor]]:
    """Each parameter with normally distributed numbers of its shape, which depend on `name` alone.

    A tied parameter has several names: it comes once, under the first of them.
    """
    random = np.random.RandomState(zlib.crc32(name.encode()))
    done: set[int] = set()
    names = sorted(model.named_parameters(remove_duplicate=False), key=lambda item: item[0])
    for key, parameter in names:
        if id(parameter) in done or not parameter.is_floating_point():
            continue
        done.add(id(parameter))
        values = torch.from_numpy(random.standard_normal(parameter.numel()))
        yield key, parameter, values.view(parameter.shape)


def scales_norm(key: str, parameter: torch.Tensor) -> bool:
    """Whether a parameter is the scale of a norm, as most models name it."""
    return parameter.ndim < 2 and key.endswith("weight")


def fill(
    model: torch.nn.Module,
    name: str,
    gains: Mapping[str, float],
    is_scale: Callable[[str, torch.Tensor], bool] = scales_norm,
) -> None:
    """Give parameters of any rank random numbers, scaled by what one output adds up."""
    for key, parameter, values in random_values(model, name):
        gain = math.prod(each for part, each in gains.items() if part in key)
        scale = 0.1 if parameter.ndim < 2 else 1.5 / math.sqrt(parameter[0].numel())
        parameter.data.copy_(values * scale * gain)
        if is_scale(key, parameter):
            parameter.data.abs_().add_(1.0)

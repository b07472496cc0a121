"""Parameters of a call that are this project's own: transformers' pipelines never see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..tasks.own_parameters import OWN_CHECKS


def is_uniform(cls: Any) -> bool:
    """Whether a call is known to treat all strings alike: transformers' own, and ours."""
    defined = cls.__call__.__module__.partition(".")[0]
    return defined in ("transformers", __name__.partition(".")[0])


def own_parameters(pipe: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a pipeline's call, if it generates: a class of the user's may know the same names.

    pipe: a pipeline, weightless or not.
    """
    if not getattr(pipe, "_pipeline_calls_generate", False) or not is_uniform(type(pipe)):
        return {}
    return {name: value for name, value in parameters.items() if name in OWN_CHECKS}


def stock_parameters(pipe: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The other parameters of a pipeline's call."""
    own = own_parameters(pipe, parameters)
    return {name: value for name, value in parameters.items() if name not in own}

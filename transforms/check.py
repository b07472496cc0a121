"""What can be known of a job before a worker is paid for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from . import safetensors
from .calls import sanitized
from .pipelines import ModelLoadError, weightless
from .spec import ModelSpec, Spec, is_local

logger = logging.getLogger(__name__)

_OFFLINE = ("LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectionError", "ConnectError")

#: Pipelines of models checked lately: a job often asks one model more than one thing.
_checked: dict[str, Any] = {}


def check(spec: Spec) -> None:
    """Load everything but the weights, and try the parameters on it.

    Raises:
      ModelLoadError: the model's files are not there, not readable, or of another task.
      ValueError: a parameter has a value that the task refuses.

    """
    pipe = _weightless(spec.model)
    if pipe is None:
        return
    try:
        sanitized(pipe, spec.parameters)
    except (KeyError, ValueError, TypeError) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in spec.parameters.items())
        raise ValueError(f"{spec.task}: {_reason(error)} (given: {given})") from error


def _reason(error: Exception) -> str:
    return f"unknown value {error}" if isinstance(error, KeyError) else str(error)


def _weightless(model: ModelSpec) -> Any:
    """The model's pipeline without weights; None where the hub cannot be asked from here."""
    if is_local(model.model):
        for path in safetensors.files(model.model):
            try:
                safetensors.check(path)
            except ValueError as error:
                raise ModelLoadError(str(error)) from error
    try:
        return _weightless_once(model)
    except Exception as error:
        if any(type(cause).__name__ in _OFFLINE for cause in _causes(error)):
            logger.warning(
                "cannot check the model %r from here: the hub is out of reach", model.model
            )
            return None
        raise ModelLoadError(f"cannot load the model {model.model!r}: {error}") from error


def _weightless_once(model: ModelSpec) -> Any:
    found = _checked.get(model.identity)
    if found is None:
        if len(_checked) >= 8:
            _checked.clear()
        found = _checked[model.identity] = weightless(model)
    return found


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

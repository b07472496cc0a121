"""What can be known of a job before a worker is paid for."""

from __future__ import annotations

import json
import logging
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from .calls import fresh
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
        pipe._sanitize_parameters(**fresh(dict(spec.parameters)))
    except (KeyError, ValueError, TypeError) as error:
        given = ", ".join(f"{name}={value!r}" for name, value in spec.parameters.items())
        raise ValueError(f"{spec.task}: {_reason(error)} (given: {given})") from error


def _reason(error: Exception) -> str:
    return f"unknown value {error}" if isinstance(error, KeyError) else str(error)


def _weightless(model: ModelSpec) -> Any:
    """The model's pipeline without weights; None where the hub cannot be asked from here."""
    if is_local(model.model):
        for path in _weights(model.model):
            check_safetensors(path)
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


def _weights(directory: str) -> list[str]:
    names = sorted(name for name in os.listdir(directory) if name.endswith(".safetensors"))
    return [os.path.join(directory, name) for name in names]


def check_safetensors(path: str) -> None:
    """Raises ModelLoadError for a file that is cut short or is not safetensors at all."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        header = _header(file.read(min(length, size)))
    if header is None:
        raise ModelLoadError(f"{path} is not a safetensors file, or its start is corrupt")
    ends = [item["data_offsets"][1] for name, item in header.items() if name != "__metadata__"]
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ModelLoadError(f"{path} is corrupt: it has {size} bytes and should have {expected}")


def _header(text: bytes) -> Mapping[str, Any] | None:
    try:
        header = json.loads(text)
    except ValueError:
        return None
    return header if isinstance(header, dict) else None

"""What can be known of a job before a worker is paid for."""

from __future__ import annotations

import logging
from typing import Any

from . import identity, revisions, safetensors, staging
from .calls import sanitized
from .pipelines import ModelLoadError, weightless
from .spec import ModelSpec, Spec, is_local, is_uri

logger = logging.getLogger(__name__)

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
    try:
        copies = _check_files(model)
        return None if copies is None else _weightless_once(model, copies)
    except Exception as error:
        if revisions.out_of_reach(error):
            logger.warning(
                "cannot check the model %r from here: the hub is out of reach", model.model
            )
            return None
        raise ModelLoadError(f"cannot load the model {model.model!r}: {error}") from error


def _check_files(model: ModelSpec) -> str | None:
    """Raises what is wrong with a model's files.

    The names of the copies of what is in stores, if any; None: they cannot be asked from here.
    """
    if is_local(model.model):
        for path in safetensors.files(model.model):
            safetensors.check(path)
    try:
        if is_uri(model.model):
            staging.check(model.model)
        sources = [each for each in (model.model, model.tokenizer, model.processor) if each]
        copies = [staging.directory(each, weights=False) for each in sources if is_uri(each)]
        return identity.digest(copies)
    except (FileNotFoundError, NotADirectoryError, ImportError, ValueError):
        raise
    except Exception as error:  # every store has errors of its own; workers may have more rights
        logger.warning("cannot check the model %r from here: %s", model.model, error)
        return None


def _weightless_once(model: ModelSpec, copies: str) -> Any:
    key = model.identity + copies
    found = _checked.get(key)
    if found is None:
        if len(_checked) >= 8:
            _checked.clear()
        found = _checked[key] = weightless(model)
    return found

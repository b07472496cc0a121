"""What stands in place of a stage: a function, its name, or a transform."""

from __future__ import annotations

import importlib
import operator
from typing import Any

import apache_beam as beam


def custom_stage(option: str, given: Any) -> Any:
    """The function or PTransform of an option; a name, "module.function", is imported.

    Raises:
      ValueError: there is nothing of that name.
      TypeError: it is neither a function nor a PTransform.

    """
    found = _imported(option, given) if isinstance(given, str) else given
    if isinstance(found, type) and issubclass(found, beam.PTransform):
        raise TypeError(f"{option}: {found.__name__} is a class: give a PTransform made of it")
    if found is None or callable(found) or isinstance(found, beam.PTransform):
        return found
    raise TypeError(
        f"{option} must be a function, its name as module.function, or a PTransform, got "
        f"{given!r:.80}" + ("" if found is given else f", which is {found!r:.80}")
    )


def _imported(option: str, name: str) -> Any:
    module, _, attribute = name.rpartition(":" if ":" in name else ".")
    if not module or not attribute:
        raise ValueError(f"{option} must be named as module.function, got {name!r:.80}")
    try:
        found = operator.attrgetter(attribute)(importlib.import_module(module))
    except Exception as error:  # a module may raise anything while it is imported
        raise ValueError(
            f"{option} {name!r:.80} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if found is None:
        raise TypeError(f"{option}: {name!r:.80} is None")
    return found

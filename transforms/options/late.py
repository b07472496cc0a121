"""Libraries that take seconds to import: their classes before they are there, and their import."""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apache_beam import Row
    from torch import Tensor
    from torch import device as Device  # noqa: N812 - a class, whatever torch calls it
else:

    class _LateClass(type):
        """Stands for a class: nothing is of that class before its library is imported."""

        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, cls._itself)

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, cls._itself)

        @property
        def _itself(cls) -> Any:
            return getattr(sys.modules.get(cls.library), cls.called, ())

    class Tensor(metaclass=_LateClass):
        """torch.Tensor."""

        library, called = "torch", "Tensor"

    class Device(metaclass=_LateClass):
        """torch.device."""

        library, called = "torch", "device"

    class Row(metaclass=_LateClass):
        """apache_beam.Row."""

        library, called = "apache_beam", "Row"


__all__ = ["Device", "Row", "Tensor", "import_libraries", "without_collections"]

_lock = threading.Lock()


def import_libraries() -> None:
    """Import torch and transformers' pipelines, if they are not there yet.

    By one thread at a time: transformers' modules import each other in circles, and Python lets a
    thread that comes into such a circle from another side go on with a module that is not whole.
    """
    with _lock:
        if "transformers.pipelines" in sys.modules:
            return
        with without_collections():
            importlib.import_module("transformers.pipelines")


@contextlib.contextmanager
def without_collections() -> Iterator[None]:
    """Collect no garbage: there is none in what modules define, and looking takes a tenth of it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()

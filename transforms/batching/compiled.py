"""Models whose calls go through torch.compile."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from ..engine.errors import EngineError, breaks_engine, is_out_of_memory
from ..options.acceleration import compile_keywords
from ..options.shown import shown

if TYPE_CHECKING:
    pass


logger = logging.getLogger(__name__)

T = TypeVar("T")


@functools.cache
def _keep_device_guard() -> None:
    """Have what torch.compile makes once for its process made on a thread that stays.

    torch 2.11 makes it on the first thread that compiles, where there is no CUDA device, and
    crashes when another compiles after that one has ended: with its engine.
    """
    make = getattr(torch._C, "_ensureCUDADeviceGuardSet", None)
    if make is None or torch.cuda.is_available():
        return
    made = threading.Event()

    def stay() -> None:
        make()
        made.set()
        threading.Event().wait()

    threading.Thread(target=stay, name="device guard", daemon=True).start()
    made.wait()


class Compiled:
    """A model whose calls go through torch.compile."""

    def __init__(self, model: Any, given: bool | Mapping[str, Any]) -> None:
        self._model, self._given = model, given
        self._eager = model.forward
        _keep_device_guard()
        self._compiled = torch.compile(model.forward, **compile_keywords(given))
        model.forward = self._compiled
        #: Whether it ever worked.
        self._works = False

    @contextlib.contextmanager
    def eager(self) -> Iterator[None]:
        """The model without torch.compile."""
        self._model.forward = self._eager
        try:
            yield
        finally:
            self._model.forward = self._compiled

    def run(self, call: Callable[[], T]) -> T:
        """Call what calls the model.

        An element's own error is the one that it has without torch.compile. What fails with it
        alone was answered without it; raises EngineError where it has never worked.
        """
        try:
            result = call()
        except Exception as error:
            if is_out_of_memory(error) or breaks_engine(error):
                raise
            failed = error
        else:
            self._works = True
            return result
        with self.eager():
            result = call()
        if not self._works:
            raise EngineError(
                f"torch_compile={shown(self._given)}: the model runs, but does not compile: "
                f"{type(failed).__name__}: {failed}"
            ) from failed
        logger.warning("a batch was computed without torch.compile, which failed: %r", failed)
        return result

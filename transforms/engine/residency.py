"""When an engine's model is loaded, and let go of, where models share the memory of a device."""

from __future__ import annotations

import logging
import math
import time

from ..options.byte_sizes import size_text
from .device_memory import LOOK, DeviceMemory
from .errors import EngineError

logger = logging.getLogger(__name__)

_LOADS = 4  # times that a model is loaded before it is said that models take turns too often


class Residency:
    """Has one model loaded when it is needed and there is room; without a memory, at once.

    Args:
      memory: the model's part in the device's memory. None: it is not shared by a rule.
      name: the model's name, for messages.

    """

    def __init__(self, memory: DeviceMemory | None, name: str) -> None:
        self._memory = memory
        self._name = name
        self._load_seconds = 0.0
        self._loads = 0
        self._loading_seconds = 0.0
        self._begun = time.monotonic()
        self._worked = self._looked = self._begun
        self._warned = False

    @property
    def may_unload(self) -> bool:
        """Whether the model may have to make room for others."""
        return self._memory is not None

    @property
    def poll_seconds(self) -> float:
        """For how long nothing need be looked at."""
        return math.inf if self._memory is None else LOOK

    def may_load(self, *, is_needed: bool) -> bool:
        """Whether the model is to be loaded now."""
        return self._memory is None or (is_needed and self._memory.enter())

    def loaded(self, nbytes: int, seconds: float) -> bool:
        """The model is loaded, took `seconds`, and has `nbytes`; whether it may stay.

        One that turns out to be larger than there is room for is to be let go of, and waits for
        room after `unloaded`.

        Raises EngineError for one that is larger than all may be together.
        """
        self._loads += 1
        self._load_seconds = seconds
        self._loading_seconds += seconds
        self._worked = time.monotonic()
        if self._memory is None:
            return True
        if nbytes > self._memory.limit:
            raise EngineError(too_large(self._name, nbytes, self._memory.limit))
        self._warn(self._memory.limit)
        return self._memory.resize(nbytes)

    def must_unload(self, *, is_busy: bool) -> bool:
        """Whether the loaded model has to make room for another. `is_busy`: it has work to do."""
        now = time.monotonic()
        if is_busy:
            self._worked = now
        if self._memory is None or now - self._looked < LOOK:
            return False
        self._looked = now
        return self._memory.must_leave(self._worked, self._load_seconds)

    def unloaded(self) -> None:
        """The model is not loaded any more, and need not be."""
        if self._memory is not None:
            self._memory.leave()

    def _warn(self, limit: int) -> None:
        """Say once that loading takes more time than all else."""
        seconds = time.monotonic() - self._begun
        if self._warned or self._loads < _LOADS or 2 * self._loading_seconds < seconds:
            return
        self._warned = True
        logger.warning(
            "%s was loaded %d times, which took %.0f of %.0f seconds: the models of the job take "
            "turns within max_device_memory=%s. Raise it, or run each model in a job of its own",
            *(self._name, self._loads, self._loading_seconds, seconds, size_text(limit)),
        )


def too_large(name: str, nbytes: int, limit: int) -> str:
    """What is said of a model that can never be loaded."""
    return (
        f"the weights of the model {name!r} take {size_text(nbytes)}, more than "
        f"max_device_memory={size_text(limit)}, which all models of the job share"
    )

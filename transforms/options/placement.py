"""Where the stage with the model runs: on which workers, and whether apart from other stages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .byte_sizes import byte_count
from .shown import shown

#: What an accelerator's description may have, and the form of its value; None: no value.
_PARTS: Mapping[str, re.Pattern[str]] = {
    "type": re.compile(r":[\w.-]+"),
    "count": re.compile(r":[1-9]\d*"),
    "topology": re.compile(r":\d+(x\d+)+"),
    "install-nvidia-driver": re.compile(r"(:[\w.-]+)?"),
    "use_nvidia_mps": re.compile(r""),
}
_EXAMPLE = "type:nvidia-l4;count:1;install-nvidia-driver"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Which workers the stage with the model needs, where a runner has several kinds.

    Raises ValueError for a value that no runner understands.
    """

    #: Whether the stage shares no worker with what comes before and after it.
    isolate: bool = False
    #: An accelerator, as Beam's resource hint describes it.
    accelerator: str | None = None
    #: The least memory of a worker: bytes, or "16GB".
    min_ram: int | str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.isolate, bool):
            raise ValueError(f"isolate must be True or False, got {shown(self.isolate)}")
        if self.accelerator is not None:
            _check_accelerator(self.accelerator)
        if self.min_ram is not None:
            byte_count("min_ram", self.min_ram)

    @property
    def hints(self) -> dict[str, Any]:
        """Beam's resource hints of the stage."""
        hints: dict[str, Any] = {}
        if self.accelerator is not None:
            hints["accelerator"] = self.accelerator
        if self.min_ram is not None:
            hints["min_ram"] = byte_count("min_ram", self.min_ram)
        return hints

    @property
    def is_fused(self) -> bool:
        """Whether the stages before and after may run in the same process, as one with it."""
        return not self.isolate and not self.hints


#: With everything else, on any worker.
ANYWHERE = Placement()


def _check_accelerator(value: object) -> None:
    parts = value.split(";") if isinstance(value, str) else []
    names = [part.partition(":")[0] for part in parts]
    valid = names[:1] == ["type"] and len({*names}) == len(names)
    if not valid or not all(map(_is_part, parts)):
        known = ", ".join(_PARTS)
        raise ValueError(
            f"accelerator must be parts like {_EXAMPLE!r}, type first, each once, of {known}; "
            f"got {shown(value)}"
        )


def _is_part(part: str) -> bool:
    name = part.partition(":")[0]
    return name in _PARTS and _PARTS[name].fullmatch(part.removeprefix(name)) is not None

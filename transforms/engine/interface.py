"""What an engine computes with: the protocols that a model fulfils, and what describes one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..options.spec import Limits, Sharing


@dataclass(frozen=True)
class BatchSlot:
    """Where a chunk belongs in the pool: which others may share its batch, and its length."""

    key: Hashable
    length: int


class Program(Protocol):
    """What an engine runs: a model with one stage's parameters. See batching.program.Program."""

    def batch_slot(self, features: Any) -> BatchSlot:
        """The batch key and length of a chunk."""

    def run(self, chunks: Sequence[Any]) -> list[Any]:
        """The outputs of each chunk."""


class Model(Protocol):
    """A loaded model. See batching.replica.Replica."""

    @property
    def accelerated(self) -> bool:
        """Whether it runs on something other than the CPU."""

    @property
    def generates(self) -> bool:
        """Whether it answers token by token."""

    @property
    def nbytes(self) -> int:
        """Bytes of its weights."""

    def program(self, parameters: Mapping[str, Any]) -> Program:
        """The model with one stage's parameters."""


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """What an engine is made from; it can be pickled."""

    #: Equal for engines that may replace each other.
    identity: str
    #: The model's name, for messages.
    name: str
    load: Callable[..., Model]
    limits: Limits
    sharing: Sharing
    #: Whether the model runs on the machine's accelerator if there is one.
    accelerated: bool = False
    #: Whether `load` takes a `device`: one of the machine's accelerators, by its number.
    replicated: bool = False

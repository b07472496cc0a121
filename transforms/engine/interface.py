"""What an engine computes with: the protocols that a model fulfils, and what describes one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..options.spec import Limits, Sharing


@dataclass(frozen=True)
class BatchSlot:
    """Where a chunk belongs in the pool: which others may share its batch, and its length."""

    key: Hashable
    length: int


class Launched(Protocol):
    """A batch that a device works on."""

    #: Seconds that the device took, once the outputs are there; None: it has no clock of its own.
    seconds: float | None

    def done(self) -> bool:
        """Whether `outputs` need not wait."""

    def outputs(self) -> Iterable[Any]:
        """The outputs of each chunk; waits for the device. Raises what it reports."""


@dataclass
class Computed:
    """A batch that was computed while it was launched."""

    computed: Iterable[Any]
    seconds: float | None = None

    def done(self) -> bool:
        """Its outputs are there."""
        return True

    def outputs(self) -> Iterable[Any]:
        """The outputs of each chunk."""
        return self.computed


class Program(Protocol):
    """What an engine runs: a model with one stage's parameters. See batching.program.Program."""

    #: Whether a chunk may be a row of a block (see blocks.py), or else only what was submitted.
    takes_rows: bool

    def batch_slots(self, chunks: Sequence[Any]) -> Sequence[BatchSlot]:
        """The batch key and length of each chunk."""

    def launch(self, chunks: Sequence[Any]) -> Launched:
        """Hand a batch to the device; it may still be at work on the one before."""


class SynchronousProgram:
    """The base of programs that compute while they are launched."""

    takes_rows = False

    def run(self, chunks: Sequence[Any]) -> Iterable[Any]:
        """The outputs of each chunk."""
        raise NotImplementedError

    def launch(self, chunks: Sequence[Any]) -> Launched:
        """Compute a batch."""
        return Computed(self.run(chunks))


class Model(Protocol):
    """A loaded model. See batching.replica.Replica."""

    @property
    def accelerated(self) -> bool:
        """Whether it runs on something other than the CPU."""

    @property
    def overlaps(self) -> bool:
        """Whether a batch may be launched while its device works on the one before."""

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
    load: Callable[..., Any]
    limits: Limits
    sharing: Sharing
    #: Whether the model runs on the machine's accelerator if there is one.
    accelerated: bool = False
    #: Whether `load` takes a `device`: one of the machine's accelerators, by its number.
    replicated: bool = False
    #: The device whose memory the model takes, by its number or name; None: the machine's best.
    device: int | str | None = None
    #: Bytes of the weights, as far as they are known before they are loaded.
    nbytes: int | None = None
    #: Whether the model works on each chunk for as many steps as it takes, in place of on batches:
    #: `load` gives a ContinuousModel.
    continuous: bool = False

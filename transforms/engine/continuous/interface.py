"""What an engine without batches computes with: the protocols that its model fulfils."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol


class ContinuousProgram(Protocol):
    """A model with one stage's parameters."""

    def length(self, chunk: Any) -> int:
        """The tokens of a chunk."""

    def submit(self, number: int, chunk: Any) -> None:
        """Hand a chunk to the model, under a number. Raises what is wrong with the chunk."""


class ContinuousModel(Protocol):
    """A loaded model that works on many chunks at once, each for as many steps as it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes of its weights."""

    @property
    def capacity(self) -> int:
        """How many chunks it works on at once."""

    def program(self, parameters: Mapping[str, Any]) -> ContinuousProgram:
        """The model with one stage's parameters."""

    def step(self) -> Sequence[tuple[int, Any]]:
        """Compute a step of all chunks; the numbers and outputs of those that have finished.

        What fails alone has its error in place of outputs. Raises what ends the model.
        """

    def cancel(self, numbers: Collection[int]) -> None:
        """Stop working on chunks: no output of theirs comes any more."""

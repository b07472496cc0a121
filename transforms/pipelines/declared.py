"""What a pipeline class declares where the rules for transformers' own classes do not hold."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

from ..options.spec import ModelSpec


class UnpaddedPipeline:
    """A pipeline class whose chunks are never padded: at most chunks of equal shapes share a batch.

    Inherited before the class of transformers.
    """

    @property
    @abstractmethod
    def can_batch(self) -> bool:
        """Whether chunks of equal shapes share a batch."""

    def numbers_made(self, parameters: Mapping[str, Any]) -> int:
        """How many numbers an answer has, where it is much larger than its features; else 0.

        parameters: the keywords of the forward stage.
        """
        return 0


class SelfLoadingPipeline:
    """A pipeline class whose models are not transformers': it loads them in the factory's place."""

    @classmethod
    @abstractmethod
    def load(cls, spec: ModelSpec) -> Self:
        """The pipeline with its weights on its device."""

    @classmethod
    @abstractmethod
    def weightless(cls, spec: ModelSpec) -> Self:
        """The pipeline for the stages around the model: it knows the parameters, no more."""

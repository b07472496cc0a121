"""What is audited of a job, and from which differences on the job says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from transforms import TaskTransform
from transforms.options.shown import shown
from transforms.options.suggest import unknown


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What is audited. Raises ValueError for a value that does not exist."""

    #: The part of the rows that is computed once more.
    share: float
    #: The part of the audited rows that may have another answer without a warning.
    max_flips: float = 0.01
    #: How large the mean difference of numbers may be. Scores of bfloat16 are some 0.002 off.
    max_difference: float = 0.02
    #: Where the reference is computed. None: where the job computes.
    device: int | str | None = None

    def __post_init__(self) -> None:
        if not _is_part(self.share) or not self.share:
            raise ValueError(
                f"audit: share must be a number above 0 and at most 1, got {shown(self.share)}"
            )
        for name in ("max_flips", "max_difference"):
            value = getattr(self, name)
            if not _is_part(value):
                raise ValueError(f"audit: {name} must be a number from 0 to 1, got {shown(value)}")

    @classmethod
    def of(cls, given: Any) -> Self:
        """Those of a number, which is the share, or of a mapping. Raises ValueError."""
        if not isinstance(given, Mapping):
            return cls(share=given)
        names = [each.name for each in fields(cls)]
        for name in given:
            if name not in names:
                raise ValueError(f"audit: {unknown('option', name, names)}")
        if "share" not in given:
            raise ValueError("audit: share, the part of the rows, is missing")
        return cls(**given)


def _is_part(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def check_auditable(task: TaskTransform) -> None:
    """Raises ValueError for a task whose answers may differ although nothing is wrong.

    Loads the tokenizer or processors of the model.
    """
    if not task.repeats:
        raise ValueError(
            "audit: equal inputs may have different answers, since tokens are drawn at random, or "
            "a pipeline class of your own answers: there is nothing to compare with"
        )

"""What an engine reports of its work: models loaded, batches computed, processes restarted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class LoadReport:
    """A model was loaded."""

    seconds: float
    #: Of the weights.
    nbytes: int


@dataclass(frozen=True, slots=True)
class BatchReport:
    """A batch was computed; or, where `split` says why, failed and was split."""

    rows: int
    #: Without and with padding; 1 for each row where features have no length.
    tokens: int = 0
    padded: int = 0
    #: In the model, including collating features and splitting outputs.
    seconds: float = 0.0
    #: From the arrival of the row that waited longest.
    waited: float = 0.0
    #: From the end of the last batch to the start of this one.
    idle: float = 0.0
    split: Literal["", "memory", "data"] = ""


@dataclass(frozen=True, slots=True)
class RestartReport:
    """The engine's process died, and another took over."""

    #: Elements that were handed over again.
    replayed: int


Report = LoadReport | BatchReport | RestartReport

"""What a machine takes for the rows of a task: the numbers that a forecast is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from transforms.engine.reports import BatchReport

#: Seconds that Beam takes to start and end a pipeline on one machine.
RUNNER_SECONDS = 0.5
_VERSION = 1
_FEW = 8  # batches: fewer draw no line


class ProfileError(ValueError):
    """A file is not the profile of a machine, or not one for this task."""


class EmptyJobError(ValueError):
    """A job has no rows to measure."""


@dataclass(frozen=True)
class BatchLine:
    """Seconds of a batch by its padded tokens: a straight line."""

    start_seconds: float
    seconds_per_token: float

    @classmethod
    def of(cls, batches: Sequence[BatchReport]) -> BatchLine:
        """The line of measured batches.

        Its slope is the median of those between any two batches, which a few batches that another
        program disturbed do not move. Batches of one size draw no line: they start in no time.
        """
        tokens = np.array([each.padded for each in batches], float)
        seconds = np.array([each.seconds for each in batches], float)
        if not len(tokens):
            return cls(0.0, 0.0)
        one, other = np.triu_indices(len(tokens), 1)
        apart = tokens[one] - tokens[other]
        far = abs(apart) > 0.05 * tokens.max()
        if len(tokens) >= _FEW and far.mean() > 0.1:
            slope = float(np.median((seconds[one] - seconds[other])[far] / apart[far]))
            start = float(np.median(seconds - slope * tokens))
            if slope > 0 and start >= 0:
                return cls(start, slope)
        return cls(0.0, float(seconds.sum() / max(tokens.sum(), 1.0)))

    def seconds(self, batches: float, tokens: float) -> float:
        """Seconds of some batches with so many padded tokens in all."""
        return batches * self.start_seconds + tokens * self.seconds_per_token


@dataclass(frozen=True)
class Work:
    """Rows, and the batches that they make."""

    rows: float
    batches: float
    #: With padding.
    tokens: float


@dataclass(frozen=True)
class Profile:
    """A machine and a task, measured. Seconds are of a machine that does nothing else."""

    task: str
    model: str
    #: The accelerator, or else the processor.
    device: str
    accelerated: bool
    cores: int
    #: Worker processes of a job on this machine.
    processes: int
    load_seconds: float
    #: Of a batch: the line of BatchLine.
    start_seconds: float
    seconds_per_token: float
    #: Of a row outside of the model: reading, preparing, postprocessing. Where an accelerator
    #: computes, that is processor time and goes on beside it.
    host_seconds: float
    #: The largest batch, in rows and in padded tokens.
    batch_rows: int
    batch_tokens: int
    #: Most memory of a process in bytes, and the bytes of the model in it.
    memory: int
    model_bytes: int
    measured_rows: int = 0
    #: How much longer finished runs took than was predicted.
    correction: float = 1.0
    version: int = _VERSION

    def work_seconds(self, work: Work) -> float:
        """Seconds that this machine takes for some work, without loading the model."""
        line = BatchLine(self.start_seconds, self.seconds_per_token)
        compute, host = line.seconds(work.batches, work.tokens), work.rows * self.host_seconds
        seconds = max(compute, host / self.processes) if self.accelerated else compute + host
        return seconds * self.correction

    def as_json(self) -> str:
        """The content of its file."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def read(cls, path: str | Path) -> Profile:
        """The profile in a file. Raises ProfileError, and OSError where there is no file."""
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls._of(found)
        except (UnicodeDecodeError, ValueError, TypeError) as error:
            raise ProfileError(
                f"{path} is not a profile, which `pipelines-beam profile FILE -o {path}` writes: "
                f"{error}"
            ) from error

    @classmethod
    def _of(cls, found: Any) -> Profile:
        if not isinstance(found, Mapping):
            raise TypeError(f"it must be an object, got {type(found).__name__}")
        if found.get("version") != _VERSION:
            raise ValueError(f"its version must be {_VERSION}, got {found.get('version')!r:.40}")
        names = {each.name for each in fields(cls)}
        profile = cls(**{name: value for name, value in found.items() if name in names})
        for name in ("load_seconds", "start_seconds", "seconds_per_token", "host_seconds"):
            value = getattr(profile, name)
            if not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be a number of seconds, got {value!r:.40}")
        for name in ("cores", "processes", "batch_rows", "batch_tokens"):
            if not isinstance(getattr(profile, name), int) or getattr(profile, name) < 1:
                raise ValueError(f"{name} must be a positive integer")
        if not isinstance(profile.correction, int | float) or not profile.correction > 0:
            raise ValueError("correction must be a positive number")
        return profile

    def check_of(self, task: str, model: str) -> str | None:
        """A warning if it is that of another model. Raises ProfileError for another task."""
        if self.task != task:
            raise ProfileError(f"the profile is of the task {self.task!r}, the job's is {task!r}")
        if self.model != model:
            return f"the profile is of the model {self.model}, the job's is {model}"
        return None

"""The last forecast of a job, kept for the user: its run says beside it what happened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .. import user_folder

#: What may differ between jobs that take as long for a row.
_IRRELEVANT = frozenset({"columns", "limit", "output", "input"})


@dataclass(frozen=True, kw_only=True)
class KeptForecast:
    """What a job was to take. Seconds have a low end, a value, and a high end."""

    #: What decides how long a row takes: see `relevant`.
    job: Mapping[str, str]
    rows: int
    #: Rows that were to fail.
    failed: int
    #: Without what comes before the pipeline runs.
    seconds: tuple[float, float, float]
    workers: int
    #: What was measured: this machine's accelerator or processor, or that of a profile.
    device: str
    batch_rows: float
    padding: float

    def keep(self, output: str) -> None:
        """Keep it for the job with an output."""
        user_folder.keep(_path(output), json.dumps(asdict(self), indent=1))


def relevant(job: Mapping[str, str]) -> dict[str, str]:
    """What decides how long a row of a job takes, of what decides its results."""
    return {name: value for name, value in job.items() if name not in _IRRELEVANT}


def kept_forecast(output: str, job: Mapping[str, str]) -> dict[str, Any]:
    """The forecast that is kept for a job and its output; empty where there is none."""
    try:
        found = json.loads(_path(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    names = {each.name for each in fields(KeptForecast)}
    is_of_job = isinstance(found, dict) and found.keys() == names and found["job"] == relevant(job)
    return {name: found[name] for name in names - {"job"}} if is_of_job else {}


def _path(output: str) -> Path:
    return user_folder.kept_at(
        "forecasts", f"{hashlib.sha256(output.encode()).hexdigest()[:24]}.json"
    )

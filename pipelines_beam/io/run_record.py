"""What a run of a job over files did, kept beside its output as JSON: `_job/run-….json`."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from .output import JOB, Output

_NAME = re.compile(r"run-(\d{8}T\d{6}Z-[0-9a-f]{6})\.json")
_TIME = "%Y%m%dT%H%M%SZ"
#: The states of a run. One that was killed stays "running".
RUNNING, DONE, FAILED, STOPPED, SUBMITTED = "running", "done", "failed", "stopped", "submitted"


@dataclass
class RunRecord:
    """One run. Times are seconds; points in time are seconds since 1970."""

    name: str
    started: float
    state: str = RUNNING
    #: Until the end of the run, or until the record was last written.
    seconds: float = 0.0
    #: What decides the results: task, model, parameters, columns, versions. See identity.py.
    job: Mapping[str, str] = field(default_factory=dict)
    #: Options that change only how fast it is, as text; dedupe and cache, where they are used.
    options: Mapping[str, str] = field(default_factory=dict)
    #: Where it was started: cores, memory in bytes, processor, accelerator, versions.
    machine: Mapping[str, Any] = field(default_factory=dict)
    #: Shards in all, those that earlier runs had written, and those of this run.
    shards: int = 0
    shards_before: int = 0
    shards_written: int = 0
    #: Rows that this run answered, and rows that failed.
    rows: int = 0
    failed: int = 0
    #: (seconds since the start, rows done by then), in the order of time.
    samples: list[tuple[float, int]] = field(default_factory=list)
    #: Whether the samples were made of the times of files, and not while the job ran.
    samples_of_files: bool = False
    #: Seconds by stage: read, preprocess, wait, postprocess and write of the threads that read and
    #: write rows; load, compute and idle of the model. The sum over all threads and processes.
    stages: Mapping[str, float] = field(default_factory=dict)
    #: Numbers of batches by their smallest size: 1, 2 (to 3), 4 (to 7), …
    batches: Mapping[str, int] = field(default_factory=dict)
    #: How long the oldest row of a batch had waited for it, in the mean of all batches.
    queue_wait: float = 0.0
    tokens: int = 0
    #: With padding.
    padded_tokens: int = 0
    model_bytes: int = 0
    #: Other counters that are not 0, such as splits_memory.
    counters: Mapping[str, int] = field(default_factory=dict)
    #: What it was to take, if it was planned before: see KeptForecast.
    forecast: Mapping[str, Any] = field(default_factory=dict)
    #: What was audited: see AuditOptions; empty for nothing.
    audit: Mapping[str, Any] = field(default_factory=dict)
    #: Why it failed; "" if it did not.
    error: str = ""

    @classmethod
    def begun(cls, now: float) -> RunRecord:
        """The record of a run that begins now."""
        time = datetime.fromtimestamp(now, UTC).strftime(_TIME)
        return cls(f"{time}-{secrets.token_hex(3)}", now)

    @classmethod
    def read(cls, output: Output, name: str) -> RunRecord:
        """A record of the output. What a later version has added is left out.

        Raises ValueError for a file that is not one.
        """
        found = json.loads(output.read(f"{JOB}/run-{name}.json"))
        if not isinstance(found, dict) or not {"name", "started"} <= found.keys():
            raise ValueError(f"{output.path(JOB)}/run-{name}.json is not the record of a run")
        known = {each.name for each in fields(cls)}
        return cls(**{key: value for key, value in found.items() if key in known})

    def write(self, output: Output) -> None:
        """Keep the record beside the output."""
        data = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        output.write(f"{JOB}/run-{self.name}.json", data.encode(errors="replace"))


def runs(output: Output) -> list[RunRecord]:
    """The records of all runs of an output, in the order of their starts."""
    names = [match[1] for each in output.names(JOB) if (match := _NAME.fullmatch(each))]
    return sorted((RunRecord.read(output, name) for name in names), key=lambda run: run.started)

"""What is kept of each retry beside the output, and what one that was killed has left."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .failed_rows import count_failed, remove_answered, shards_with_failures
from .output import JOB, Output


def settle(output: Output) -> None:
    """Remove the failure rows of rows that are answered: what a retry that was killed has left."""
    records = _records(output)
    if records and "finished" not in json.loads(output.read(records[-1])):
        for name in shards_with_failures(output):
            if count_failed(output, name)[1]:
                remove_answered(output, name)


class RetryRecord:
    """What is kept of a retry beside the output."""

    def __init__(self, output: Output, changed: Mapping[str, str], failed: int) -> None:
        self._output = output
        self._name = f"{JOB}/retry-{len(_records(output)):03d}.json"
        self._about: dict[str, Any] = {
            "started": _now(),
            "changed": dict(changed),
            "failed": failed,
        }
        self._write()

    def finish(self, answered: int) -> None:
        """Note that all of it is done."""
        self._about |= {"answered": answered, "finished": _now()}
        self._write()

    def _write(self) -> None:
        self._output.write(
            self._name, json.dumps(self._about, indent=1, ensure_ascii=False).encode()
        )


def _records(output: Output) -> list[str]:
    names = sorted(output.names(JOB))
    return [f"{JOB}/{name}" for name in names if name.startswith("retry-")]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""How long finished runs of a job took beside what is predicted, and where that is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transforms import TaskTransform

from .. import user_folder
from ..io import identity
from ..io.kept_forecast import relevant
from ..io.output import Output
from ..io.run_record import DONE, RunRecord, runs
from .profile import RUNNER_SECONDS, Profile, ProfileError

#: Seconds that a run must have computed: less tells nothing.
_LEAST = 1.0
#: What must be the same of a machine for its runs to be compared.
_MACHINE = ("cores", "processor", "accelerator")


@dataclass(frozen=True)
class Speed:
    """What rows take on this machine, as it is measured now."""

    seconds_per_row: float
    #: Padded tokens of an average row.
    tokens_per_row: float

    def seconds(self, rows: int, tokens: int) -> float:
        """What so many rows take, with so many padded tokens in all (0: not known)."""
        share = tokens / rows / self.tokens_per_row if tokens and rows else 1.0
        return rows * self.seconds_per_row * share


def described(task: TaskTransform, format: str) -> identity.Description:
    """What decides how long a row of a job takes."""
    return relevant(identity.described(task, None, format))


def correction(
    output: Output,
    job: identity.Description,
    machine: Mapping[str, Any],
    speed: Speed,
) -> float | None:
    """How much longer the last finished run took than the speed says; None without such a run.

    Runs that were audited, or took answers from elsewhere, do not tell what a row takes.

    Args:
      output: where the job's runs have left their records.
      job: what decides how long a row takes.
      machine: what this machine is.
      speed: what is measured now.

    """
    for record in reversed(_records(output)):
        rows = record.rows + record.failed
        is_same = relevant(record.job) == job and _is_on(record, machine) and _is_plain(record)
        seconds = record.seconds - record.stages.get("load", 0.0) - RUNNER_SECONDS
        if record.state == DONE and is_same and rows and seconds >= _LEAST:
            return seconds / max(speed.seconds(rows, record.padded_tokens), 1e-9)
    return None


def _records(output: Output) -> list[RunRecord]:
    try:
        return runs(output)
    except (OSError, TypeError, ValueError):  # of a run that was killed, or of another version
        return []


def _is_plain(record: RunRecord) -> bool:
    """Whether a run has computed each of its rows, and nothing else."""
    return not record.audit and record.options.keys().isdisjoint(("dedupe", "cache"))


def _is_on(record: RunRecord, machine: Mapping[str, Any]) -> bool:
    return all(record.machine.get(name) == machine.get(name) for name in _MACHINE)


@dataclass(frozen=True)
class Store:
    """Profiles of this machine in a folder of the user's, by what decides how long a row takes."""

    path: Path

    @classmethod
    def of(cls, job: identity.Description, machine: Mapping[str, Any]) -> Store:
        """The place of a job's profile; PIPELINES_BEAM_CACHE names another folder."""
        about = [dict(job), {name: machine.get(name) for name in _MACHINE}]
        name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
        return cls(user_folder.kept_at("profiles", f"{name}.json"))

    def read(self) -> Profile | None:
        """The profile, if there is one that can be read."""
        try:
            return Profile.read(self.path)
        except (OSError, ProfileError):
            return None

    def write(self, profile: Profile) -> None:
        """Keep a profile. A folder that cannot be written to is no reason to fail."""
        user_folder.keep(self.path, profile.as_json())

    def corrected(self, profile: Profile, correction: float | None) -> Profile:
        """The profile with a new correction, or the one that is kept; it is kept from now on."""
        known = self.read()
        factor = correction or (known.correction if known is not None else 1.0)
        found = replace(profile, correction=factor)
        self.write(found)
        return found

"""What a job over files is asked to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from transforms import TaskTransform
from transforms.options.shown import shown

from .audit.options import AuditOptions
from .failure_limit import FailureLimit

_DEDUPE = ("shard", "job")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a job over files is asked to do: see ProcessFiles."""

    files: str | Sequence[str]
    task: TaskTransform
    output: str
    columns: Sequence[str] | None = None
    types: Mapping[str, str] | None = None
    format: str | None = None
    resume: bool = False
    overwrite: bool = False
    rows_per_shard: int | None = None
    bytes_per_shard: int = 64 * 1024 * 1024
    reuse: bool = True
    dedupe: str = "shard"
    cache: str | None = None
    limit: int | None = None
    max_failures: int | str | None = None
    audit: float | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.task, TaskTransform):
            raise TypeError(f"task must be a task's transform, got {shown(self.task)}")
        if not self.task.plan.binding.of_rows:
            raise ValueError("files hold rows: set input= of the task to the column that it reads")
        check_fused(self.task)
        for name in ("rows_per_shard", "bytes_per_shard", "limit"):
            value = getattr(self, name)
            is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
            if value is not None and not is_count:
                raise ValueError(f"{name} must be a positive integer, got {shown(value)}")
        if not isinstance(self.reuse, bool):
            raise ValueError(f"reuse must be True or False, got {shown(self.reuse)}")
        if self.dedupe not in _DEDUPE:
            raise ValueError(f"dedupe must be 'shard' or 'job', got {shown(self.dedupe)}")
        if self.dedupes_job and not self.reuse:
            raise ValueError("dedupe='job' reuses answers: not with reuse=False (--no-reuse)")
        if self.resume and self.overwrite:
            raise ValueError("resume and overwrite exclude each other")
        if not isinstance(self.cache, str | None) or self.cache == "":
            raise ValueError(f"cache must be the path or URI of a folder, got {shown(self.cache)}")
        if self.max_failures is not None:
            FailureLimit.of(self.max_failures)
        _ = self.audit_options

    @property
    def audit_options(self) -> AuditOptions | None:
        """What is audited; None for nothing."""
        return None if self.audit is None else AuditOptions.of(self.audit)

    @property
    def dedupes_job(self) -> bool:
        """Whether equal rows are computed once in the whole job, and not in each shard."""
        return self.dedupe == "job"

    @property
    def uses_cache(self) -> bool:
        """Whether answers of earlier jobs are taken, and kept for later ones."""
        return self.reuse and self.cache is not None


def check_fused(task: TaskTransform) -> None:
    """Raises ValueError for a task whose results would come apart from its failures."""
    if task.plan.placement.isolate:
        raise ValueError(
            "isolate would part the results of a file from its failures: give accelerator and "
            "min_ram without it, which are for the steps that read, compute and write"
        )

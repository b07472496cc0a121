"""What the audit of a job has found, as the page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..io.audit.options import AuditOptions
from ..io.audit.results import AuditResult, audit_result, worst
from ..io.output import Output
from ..io.run_record import RunRecord
from . import texts


@dataclass(frozen=True)
class Example:
    """A row whose answer differs from the reference."""

    place: str
    flips: bool
    size: str
    input: str
    answer: str
    reference: str


@dataclass(frozen=True)
class Audited:
    """The audit of an output."""

    result: AuditResult
    #: What is more than the last run that audited allows.
    excesses: Sequence[str]
    examples: Sequence[Example]

    @property
    def figures(self) -> list[tuple[str, str]]:
        """The numbers: (what, how many)."""
        result = self.result
        errors = [("without a reference", f"{result.errors:,}")] if result.errors else []
        if not result.rows:
            return [("rows compared", "0"), *errors]
        return [
            ("rows compared", f"{result.rows:,}"),
            ("with another answer", f"{result.flips:,} ({result.flip_share:.2%})"),
            ("mean difference", f"{result.mean:.2g}"),
            ("median", f"{result.median:.2g}"),
            ("95 % are below", f"{result.percentile_95:.2g}"),
            ("99 % are below", f"{result.percentile_99:.2g}"),
            ("largest", f"{result.largest:.2g}"),
            *errors,
        ]


def audited(output: Output, runs: Sequence[RunRecord]) -> Audited | None:
    """The audit of an output; None where no row was audited."""
    result = audit_result(output)
    if not result.rows + result.errors:
        return None
    options = next((run.audit for run in reversed(runs) if run.audit), None)
    excesses = [] if options is None else result.excesses(AuditOptions.of(options))
    return Audited(result, excesses, list(map(_example, worst(output))))


def _example(row: Mapping[str, Any]) -> Example:
    return Example(
        texts.cut(f"{row['file']}, row {row['row']}", texts.SHORT),
        row["flips"],
        f"{row['size']:.2g}",
        *(texts.cut(row[name], 2 * texts.SHORT) for name in ("input", "answer", "reference")),
    )

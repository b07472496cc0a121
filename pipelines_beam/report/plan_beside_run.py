"""What a job was to take beside what it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..io.run_record import DONE, RunRecord
from . import texts
from .advice import padding_share


@dataclass(frozen=True)
class Planned:
    """The plan of a run, for the page."""

    device: str
    #: (what, as it was planned, as it happened).
    rows: Sequence[tuple[str, str, str]]
    #: Why the two are not of the same job; "" if they are.
    note: str


def planned(run: RunRecord) -> Planned | None:
    """The plan of a run beside it; None for a run that nobody has planned, or that did nothing."""
    plan, done = run.forecast, run.rows + run.failed
    if not plan or not done or not run.seconds:
        return None
    low, value, high = plan["seconds"]
    time = f"{texts.seconds(value)} ({texts.seconds(low)} to {texts.seconds(high)})"
    rows = [
        ("rows", f"{plan['rows']:,}", f"{done:,}"),
        ("time", time, texts.seconds(run.seconds)),
        (
            "rows per second",
            texts.number(plan["rows"] / max(value, 1e-9)),
            texts.number(done / run.seconds),
        ),
        ("rows that fail", f"{plan['failed']:,}", f"{run.failed:,}"),
    ]
    if run.padded_tokens:
        rows.append(("padding", f"{plan['padding']:.0%}", f"{padding_share(run):.0%}"))
    if plan["workers"] > 1:
        rows.append(("workers", f"{plan['workers']:,}", "as the runner has"))
    return Planned(plan["device"], rows, _note(run, done))


def _note(run: RunRecord, done: int) -> str:
    if run.state != DONE:
        return "The run did not come to its end, so their times are not to be compared."
    if abs(done - run.forecast["rows"]) > 0.05 * done:
        return "The plan was made for another number of rows: compare the rows per second."
    return ""

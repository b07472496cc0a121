"""How far a job is at one moment, and the texts for it: pure functions."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

_WINDOW = 60.0  # seconds that the rate is that of


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """How far a job is."""

    #: Since the start.
    seconds: float
    #: Rows that are answered or failed; in a resumed job, those from before, too.
    done: int
    #: Of them, those since this start; 0 until a model has answered.
    computed: int
    failed: int
    #: All rows; None: unknown.
    total: int | None = None
    #: Whether the total is estimated from bytes.
    is_about: bool = False
    #: Rows a second of the last minute; None: nothing is computed yet.
    rate: float | None = None
    #: Of the batches so far; None where nobody reports it.
    mean_batch: float | None = None
    padding: float | None = None
    busy: float | None = None
    #: What is counted.
    unit: str = "rows"
    #: Whether rows would be seen: else workers are elsewhere, and nothing tells of them.
    is_seen: bool = True

    @property
    def is_loading(self) -> bool:
        """Whether nothing is answered yet."""
        return not self.computed and self.done != self.total

    @property
    def share(self) -> float | None:
        """How much is done, from 0 to 1."""
        if not self.total:
            return None
        most = 0.99 if self.is_about and self.done != self.total else 1.0
        return min(self.done / self.total, most)

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this rate."""
        if self.total is None or not self.rate:
            return None
        return max(self.total - self.done, 0) / self.rate


@dataclass
class Rate:
    """Rows a second of the last minute."""

    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, seconds: float, computed: int) -> float | None:
        """The rate, given how many rows are computed after so many seconds."""
        if not computed or (self._seen and computed < self._seen[-1][1]):
            self._seen.clear()
        self._seen.append((seconds, computed))
        while len(self._seen) > 2 and self._seen[1][0] < seconds - _WINDOW:
            self._seen.popleft()
        (since, before), (until, after) = self._seen[0], self._seen[-1]
        return (after - before) / (until - since) if after > before and until > since else None


def described(snapshot: Snapshot) -> str:
    """A line for people."""
    return ", ".join([_rows(snapshot), *_speed(snapshot), *_batches(snapshot)])


def as_event(snapshot: Snapshot) -> dict[str, Any]:
    """The same for programs; what is unknown is null."""
    share, left = snapshot.share, snapshot.seconds_left
    return {
        "event": "progress",
        "phase": "loading" if snapshot.is_loading else "running",
        "seconds": round(snapshot.seconds, 1),
        "rows_done": snapshot.done,
        "rows_total": snapshot.total,
        "total_is_estimate": snapshot.is_about,
        "percent": None if share is None else round(100 * share, 1),
        "rows_failed": snapshot.failed,
        "rows_per_second": None if snapshot.rate is None else round(snapshot.rate, 2),
        "seconds_left": None if left is None else round(left),
        "mean_batch": _rounded(snapshot.mean_batch),
        "padding_percent": _rounded(snapshot.padding),
        "busy_percent": _rounded(snapshot.busy),
    }


def _rows(snapshot: Snapshot) -> str:
    if not snapshot.is_seen:
        return f"running on other machines … {duration(snapshot.seconds)}"
    if snapshot.total is None:
        return f"{snapshot.done:,} {snapshot.unit}"
    about = "about " if snapshot.is_about else ""
    share = "" if snapshot.share is None else f"{int(100 * snapshot.share)} %: "
    return f"{share}{snapshot.done:,} of {about}{snapshot.total:,} {snapshot.unit}"


def _speed(snapshot: Snapshot) -> list[str]:
    said = [f"{snapshot.failed:,} failed"] if snapshot.failed else []
    if snapshot.is_loading and snapshot.is_seen:
        return [*said, f"loading model … {duration(snapshot.seconds)}"]
    if snapshot.rate is not None:
        said.append(f"{snapshot.rate:,.{0 if snapshot.rate >= 10 else 1}f} {snapshot.unit}/s")
    if snapshot.seconds_left:
        said.append(f"{duration(snapshot.seconds_left)} left")
    return said


def _batches(snapshot: Snapshot) -> list[str]:
    said = []
    if snapshot.mean_batch is not None:
        said.append(f"batches of {snapshot.mean_batch:,.1f}")
    if snapshot.padding is not None:
        said.append(f"{snapshot.padding:.0f} % padding")
    if snapshot.busy is not None:
        said.append(f"model {snapshot.busy:.0f} % busy")
    return said


def duration(seconds: float) -> str:
    """Seconds as 1:02 or 3:04:05."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)

"""The report of a job over files: one HTML page with everything in it."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from transforms.options.byte_sizes import size_text
from transforms.options.shown import shown

from ..io.job import NoJobError
from ..io.output import Output, is_shard
from ..io.run_record import RunRecord, runs
from . import charts, texts
from .advice import advice, is_short, padding_share
from .audited import Audited, audited
from .examples import FailedRows, Subject, examples, failed_rows
from .gallery import cards
from .parts import Card
from .plan_beside_run import planned

_NAMES = {
    "load": "loading the model",
    "compute": "computing",
    "idle": "idle: nothing to compute",
    "read": "reading files",
    "preprocess": "preparing inputs: fetching, decoding, tokenizing",
    "wait": "waiting for the model",
    "postprocess": "making predictions of outputs",
    "audit": "auditing: some rows once more, in float32",
    "write": "writing files",
}
_OF_MODEL = ("compute", "idle", "load")
_OF_ROWS = ("read", "preprocess", "wait", "postprocess", "audit", "write")
_STATES = {
    "done": "done",
    "failed": "failed",
    "stopped": "stopped",
    "running": "running, or killed",
    "submitted": "submitted, not waited for",
}


@dataclass(frozen=True)
class Stage:
    """A part of the time."""

    name: str
    key: str
    time: str
    percent: float


@dataclass(frozen=True)
class _Content:
    """What the page says."""

    uri: str
    subject: Subject
    runs: Sequence[RunRecord]
    files: int
    failed: FailedRows
    cards: Sequence[Card]
    audited: Audited | None

    @property
    def run(self) -> RunRecord | None:
        """The last run that did something, else the last."""
        busy = [each for each in self.runs if each.rows + each.failed or each.state != "done"]
        return next(reversed(busy or list(self.runs)), None)


class Report:
    """The report of a job over files. A notebook shows it; `write` keeps it as one HTML file.

    Args:
      output: the output of the job.

    Raises:
      NoJobError: no job over files has begun the output.
      ImportError: matplotlib is missing, which the extra `report` brings.

    """

    def __init__(self, output: str) -> None:
        charts.check()
        self._output = Output(output)
        self._content = _content(self._output, output)

    @cached_property
    def html(self) -> str:
        """The page."""
        return _page(self._content)

    def write(self, path: str | os.PathLike[str] = "report.html") -> str:
        """Write the page to a file; returns its path."""
        with open(path, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(self.html)
        return os.fspath(path)

    def _repr_html_(self) -> str:
        """The page in a frame of its own: its style is not that of the notebook."""
        title = html.escape(f"Report of {self._output.uri}")
        style = "width:100%;height:50rem;border:0"
        page = html.escape(self.html)
        return f'<iframe title="{title}" style="{style}" sandbox srcdoc="{page}"></iframe>'


def _content(output: Output, given: str) -> _Content:
    try:
        subject = Subject.of(output)
    except FileNotFoundError as error:
        raise NoJobError(
            f"{shown(given)} has no job over files: give the folder that ProcessFiles or "
            "process_files has written to"
        ) from error
    shards = sum(map(is_shard, output.names()))
    found = cards(examples(output, subject), subject)
    records = runs(output)
    failed, audit = failed_rows(output), audited(output, records)
    return _Content(output.uri, subject, records, shards, failed, found, audit)


def _page(content: _Content) -> str:
    environment = Environment(
        loader=PackageLoader("pipelines_beam.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": texts.number, "cut": texts.cut}
    style = environment.loader.get_source(environment, "page.css")[0]  # type: ignore[union-attr]
    run = content.run
    return environment.get_template("page.html").render(
        content=content,
        style=Markup(style),  # noqa: S704 - a file of this package
        run=run,
        shown_run=None if run is None else _history(run),
        figures=_figures(content),
        about=[] if run is None else _about(run),
        planned=None if run is None else planned(run),
        timing=None if run is None else _timing(run),
        advice=None if run is None else advice(run),
        is_short=run is not None and is_short(run),
        throughput=_throughput(run),
        batches=_batches(run),
        history=[_history(each) for each in content.runs],
    )


def _figures(content: _Content) -> list[tuple[str, str]]:
    """The numbers at the top: (what, how many)."""
    run = content.run
    if run is None:
        return [("files of results", f"{content.files:,}")]
    done = run.rows + run.failed
    rate = done / run.seconds if run.seconds else 0.0
    found = [
        ("rows answered", f"{run.rows:,}"),
        ("rows failed", f"{run.failed:,}"),
        ("rows per second", texts.number(rate)),
        ("time", texts.seconds(run.seconds)),
        ("files of results", f"{content.files:,} of {run.shards:,}"),
    ]
    if run.padded_tokens:
        found.append(("padding", f"{padding_share(run):.0%}"))
    return found


def _about(run: RunRecord) -> list[tuple[str, list[tuple[str, str]]]]:
    """Lists of names and values, with their headings."""
    versions = {k: v for k, v in run.job.items() if k.startswith("version of ")}
    job = {k: v for k, v in run.job.items() if k not in versions}
    machine = dict(run.machine)
    if "memory" in machine:
        machine["memory"] = size_text(machine["memory"])
    versions |= {k: machine.pop(k) for k in list(machine) if k.startswith("version of ")}
    versions = {k.removeprefix("version of "): str(v).strip('"') for k, v in versions.items()}
    options = dict(run.options)
    if run.model_bytes:
        machine["weights of the model"] = size_text(run.model_bytes)
    groups = {
        "Task": job,
        "Options of speed": options,
        "Machine that started it": machine,
        "Versions": versions,
        "Also counted": {k.replace("_", " "): f"{v:,}" for k, v in run.counters.items()},
    }
    return [
        (title, [(name, texts.cut(str(value).strip('"'), 300)) for name, value in group.items()])
        for title, group in groups.items()
        if group
    ]


def _timing(run: RunRecord) -> list[tuple[str, str, list[Stage]]]:
    """Where the time went: (title, what it is the time of, stages)."""
    groups = (
        ("The model", "time of the thread that computes", _OF_MODEL),
        ("The rows", "time of the threads that read, prepare and write rows", _OF_ROWS),
    )
    return [(t, what, _stages(run, keys)) for t, what, keys in groups if _stages(run, keys)]


def _stages(run: RunRecord, keys: Sequence[str]) -> list[Stage]:
    found = {key: run.stages.get(key, 0.0) for key in keys}
    total = sum(found.values())
    if not total:
        return []
    return [
        Stage(_NAMES[key], key, texts.seconds(value), round(100 * value / total, 1))
        for key, value in found.items()
        if value or key != "audit"  # most jobs have none
    ]


def _throughput(run: RunRecord | None) -> dict[str, Any] | None:
    if run is None or len(run.samples) < 2 or not run.samples[-1][1]:
        return None
    step = max(1, len(run.samples) // 12)
    some = run.samples[::-step][::-1]
    return {
        "chart": charts.throughput(run.samples),
        "rows": [(texts.seconds(when), f"{count:,}") for when, count in some],
        "of_files": run.samples_of_files,
    }


def _batches(run: RunRecord | None) -> dict[str, Any] | None:
    if run is None or not run.batches:
        return None
    total = sum(run.batches.values())
    return {
        "chart": charts.batch_sizes(run.batches),
        "rows": [
            (charts.size_range(int(s)), f"{n:,}", f"{n / total:.0%}")
            for s, n in run.batches.items()
        ],
        "said": _batches_said(run, total),
    }


def _batches_said(run: RunRecord, total: int) -> str:
    batches = "1 batch" if total == 1 else f"{total:,} batches"
    return (
        f"{batches}, whose oldest row had waited {texts.seconds(run.queue_wait)} on average; "
        f"{padding_share(run):.0%} of what the model computed was padding."
    )


def _history(run: RunRecord) -> dict[str, Any]:
    started = datetime.fromtimestamp(run.started, UTC)
    return {
        "name": run.name,
        "started": started.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "iso": started.isoformat(),
        "state": _STATES.get(run.state, run.state),
        "key": run.state if run.state in _STATES else "failed",
        "time": texts.seconds(run.seconds),
        "rows": f"{run.rows:,}",
        "failed": f"{run.failed:,}",
        "written": f"{run.shards_written:,}",
        "before": f"{run.shards_before:,}",
        "error": texts.cut(run.error, 600),
    }

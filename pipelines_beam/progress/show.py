"""Showing progress: a bar on a terminal or in a notebook, lines elsewhere, JSON for programs."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from apache_beam.options.pipeline_options import PipelineOptions

from transforms.stages import live_counts, metrics

from ..io.job import Job
from . import counts_folder
from .snapshot import Snapshot, as_event, described
from .watch import Watch

#: Draws a snapshot; is told whether it is the last.
Draw: TypeAlias = Callable[[Snapshot, bool], None]

#: Seconds between two looks, by style.
_INTERVALS = {"bar": 0.5, "lines": 30.0, "json": 5.0}
_FIRST = 0.5  # seconds until the first: then it is said that the model is being loaded


def style_for(json_lines: bool = False) -> str:
    """The style for the standard streams of this process."""
    if json_lines:
        return "json"
    return "bar" if sys.stderr.isatty() or "ipykernel" in sys.modules else "lines"


def style_of(wanted: bool | None) -> str:
    """The style for a function: None shows progress where somebody looks at it."""
    style = style_for()
    return style if wanted or (wanted is None and style == "bar") else "none"


@contextlib.contextmanager
def shown(
    jobs: Sequence[Job], style: str, settings: PipelineOptions | None = None, **options: Any
) -> Iterator[None]:
    """Show how far a job is, while the body runs it.

    Args:
      jobs: its jobs over files.
      style: "bar", "lines", "json" or "none".
      settings: Beam's options of the job, which say where its workers are.
      **options: the others of Watch.

    """
    if style == "none":  # nothing is counted anew: another job may run in this process
        yield
        return
    metrics.reset()
    over = threading.Event()
    with counts_folder.opened(settings) as folder, live_counts.collected(folder.path):
        watch = Watch(jobs, folder.path, is_shared=folder.is_shared, **options)
        drawing = threading.Thread(target=_run, args=(watch, style, over), name="progress")
        drawing.daemon = True
        drawing.start()
        threading.Thread(target=watch.find_total, name="total", daemon=True).start()
        try:
            yield
        finally:
            over.set()
            drawing.join()


def _run(watch: Watch, style: str, over: threading.Event) -> None:
    with _STYLES[style]() as draw:
        wait = _FIRST
        while not over.wait(wait):
            draw(watch.snapshot(), False)
            wait = _INTERVALS[style]
        draw(watch.snapshot(last=True), True)


@contextlib.contextmanager
def _bar() -> Iterator[Draw]:
    from tqdm.auto import tqdm

    with tqdm(file=sys.stderr, dynamic_ncols=True, leave=False, bar_format="{desc}") as bar:

        def draw(snapshot: Snapshot, last: bool) -> None:
            known = bool(snapshot.total)
            bar.bar_format = "|{bar:20}| {desc}" if known else "{desc}"
            bar.total, bar.n = (snapshot.total if known else None), snapshot.done
            bar.set_description_str(described(snapshot))

        yield draw


@contextlib.contextmanager
def _lines() -> Iterator[Draw]:
    def draw(snapshot: Snapshot, last: bool) -> None:
        if not last:  # the summary follows
            print(described(snapshot), file=sys.stderr, flush=True)

    yield draw


@contextlib.contextmanager
def _json() -> Iterator[Draw]:
    def draw(snapshot: Snapshot, last: bool) -> None:
        say_json(as_event(snapshot))

    yield draw


def say_json(event: dict[str, Any]) -> None:
    """One object on a line of stdout."""
    print(json.dumps(event, ensure_ascii=False), flush=True)


_STYLES: dict[str, Callable[[], contextlib.AbstractContextManager[Draw]]] = {
    "bar": _bar,
    "lines": _lines,
    "json": _json,
}

"""Progress as it is shown: for people and for programs."""

from __future__ import annotations

import io
import json
import sys
import threading
from typing import Any

import pytest

from pipelines_beam.progress import show
from transforms.stages import metrics


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_counts", metrics.Counts())
    monkeypatch.setattr(show, "_FIRST", 0.01)
    monkeypatch.setattr(show, "_INTERVALS", dict.fromkeys(show._INTERVALS, 0.01))


def run(style: str) -> None:
    """A job that answers three of four rows, and shows that."""
    looked = threading.Event()

    def find() -> int:
        looked.set()
        return 4

    with show.shown([], style, reads=find):
        assert looked.wait(10)
        metrics.counts().answered = 3
        threading.Event().wait(0.2)


def test_programs_get_an_object_on_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    run("json")
    said = capsys.readouterr()
    events = [json.loads(line) for line in said.out.splitlines()]
    assert len(events) > 1
    assert {event["event"] for event in events} == {"progress"}
    assert (events[-1]["rows_done"], events[-1]["rows_total"]) == (3, 4)
    assert said.err == ""


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    run("lines")
    said = capsys.readouterr()
    assert "75 %: 3 of 4 rows" in said.err.splitlines()[-1]
    assert said.out == ""


def test_nothing_where_nothing_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    with show.shown([], "none", reads=lambda: pytest.fail("nobody wants to know")):
        threading.Event().wait(0.1)
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run(show.style_of(None))
    assert "| 75 %: 3 of 4 rows" in terminal.getvalue()


def test_the_style_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    found: list[Any] = [show.style_of(wanted) for wanted in (None, True, False)]
    assert found == ["none", "lines", "none"]
    assert show.style_for(json_lines=True) == "json"
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert [show.style_of(wanted) for wanted in (None, True, False)] == ["bar", "bar", "none"]

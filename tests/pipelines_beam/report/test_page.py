"""The page: one file, with everything that a run's record says, for eyes and for screen readers."""

from __future__ import annotations

import html
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.reports import a_run, output_of

from pipelines_beam import cli
from pipelines_beam.commands import statuses
from pipelines_beam.io import report
from pipelines_beam.io.output import Output
from pipelines_beam.report import charts

ROWS = [{"text": "x", "label": "good", "score": 0.9}]
TEXT = {"text": "text"}
VOID = {"meta", "img", "br", "link", "input", "hr"}


def page(folder: Path, **options: Any) -> str:
    return report(output_of(folder / "out", "text-classification", TEXT, ROWS, **options)).html


class Elements(HTMLParser):
    """Collects the elements of a page, and checks that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_one_file_has_everything(tmp_path: Path) -> None:
    text = page(tmp_path, run=a_run())
    elements = Elements(text)
    loads = [
        value for _, each in elements.found for name in ("src", "href") if (value := each.get(name))
    ]
    assert all(value.startswith(("#", "data:")) for value in loads)
    assert not re.findall(r"@import|url\((?!#)", text)
    assert not elements.all("script")
    assert "default-src 'none'" in text


def test_headings_and_landmarks_are_in_order(tmp_path: Path) -> None:
    elements = Elements(page(tmp_path, run=a_run()))
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for landmark in ("header", "nav", "main", "footer"):
        assert len(elements.all(landmark)) == 1
    ids = [each["id"] for _, each in elements.found if "id" in each]
    assert len(ids) == len(set(ids))
    for link in elements.all("a"):
        assert (link["href"] or "")[1:] in ids
    assert all(each.get("scope") for each in elements.all("th"))
    assert len(elements.all("caption")) == len(elements.all("table"))
    charts = [each for each in elements.all("svg") if each.get("role") == "img"]
    assert [each["aria-label"] for each in charts[::2]] == [
        "Rows done over time: 100 after 100.0 seconds",
        "Sizes of batches: most have 16 to 31 rows",
    ]


def test_the_charts_have_the_colours_of_the_page(tmp_path: Path) -> None:
    text = page(tmp_path, run=a_run())
    assert "var(--accent)" in text.partition("<body>")[2]
    assert "#0102" not in text
    assert "DejaVu" not in text


@pytest.mark.parametrize(("seconds", "unit"), [(100, "seconds"), (500, "minutes"), (9e4, "hours")])
def test_long_runs_have_other_units(seconds: float, unit: str) -> None:
    assert f">{unit}</text>" in charts.throughput([(seconds, 10)])


_CSS = (Path(charts.__file__).parent / "page.css").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", _CSS.partition("@media (prefers-color-scheme: dark)")[::2])
@pytest.mark.parametrize("name", ["ink", "muted", "accent", "warn", "good"])
def test_texts_can_be_read_on_what_they_stand(scheme: str, name: str) -> None:
    """The contrast that WCAG wants of normal text."""
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", scheme.partition("* {")[0]))
    for behind in ("page", "panel", "code"):
        lighter, darker = sorted((_light(colours[each]) for each in (name, behind)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def _light(colour: str) -> float:
    """The relative luminance of a colour."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_numbers_are_those_of_the_record(tmp_path: Path) -> None:
    run = a_run(failed=3, error="OSError: <b>full</b>", state="failed", shards=7)
    text = page(tmp_path, run=run)
    figures = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text)
    assert figures[:6] == [
        ("rows answered", "100"),
        ("rows failed", "3"),
        ("rows per second", "1.03"),
        ("time", "1 min 40 s"),
        ("files of results", "1 of 7"),
        ("padding", "10%"),
    ]
    assert "OSError: &lt;b&gt;full&lt;/b&gt;" in text
    assert "7 batches, whose oldest row had waited 20 ms on average; 10% of what the" in text
    assert '1 min 30 s</td><td class="number">94 %' in text
    assert "No row failed." in text


def test_the_last_run_that_did_something_is_shown_and_all_are_listed(tmp_path: Path) -> None:
    output = output_of(tmp_path / "out", "text-classification", TEXT, ROWS, run=a_run(rows=50))
    later = {"started": a_run().started + 60}
    a_run(name="20260101T000100Z-bbbbbb", rows=60, **later).write(Output(output))
    idle: dict[str, Any] = {"rows": 0, "stages": {}, "samples": []}
    a_run(name="20260101T000200Z-aaaaaa", started=later["started"] + 60, **idle).write(
        Output(output)
    )
    text = report(output).html
    assert "<dt>rows answered</dt><dd>60</dd>" in text
    assert text.count('<th scope="row"><time') == 3


def test_an_output_without_records_is_shown(tmp_path: Path) -> None:
    """As of a job in a pipeline of one's own."""
    text = page(tmp_path)
    assert "Where the time went" not in text
    assert "1 of them, from the beginning of files" in text
    Elements(text)


def test_failures_are_grouped_by_reason(tmp_path: Path) -> None:
    def failure(i: int, message: str) -> dict[str, Any]:
        where = {"file": "in.parquet", "row": i, "element": {"text": f"row {i}"}}
        why = {"stage": "preprocess", "kind": "data", "error": "ValueError", "message": message}
        return {**where, **why, "traceback": "", "attempts": 1}

    failed = [failure(i, f"text {i} has '{i}' in it") for i in range(30)]
    text = page(tmp_path, failed=[*failed, failure(31, "another")])
    assert "31 rows failed." in text
    assert re.findall(r'class="count">(\d+)', text) == ["30", "1"]
    assert text.count("<bdi>in.parquet, row ") == 4


def test_a_notebook_shows_it_in_a_frame(tmp_path: Path) -> None:
    made = report(output_of(tmp_path / "out", "text-classification", TEXT, ROWS))
    (frame,) = Elements(made._repr_html_()).all("iframe")
    assert frame["srcdoc"] == made.html
    assert "sandbox" in frame
    assert html.escape(made.html) in made._repr_html_()


def test_the_command_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = output_of(tmp_path / "out", "text-classification", TEXT, ROWS)
    path = tmp_path / "page.html"
    assert cli.main(["report", output, "-o", str(path)]) == statuses.DONE
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_text(encoding="utf-8") == report(output).html


def test_what_is_no_job_is_refused(tmp_path: Path, refusal: Any) -> None:
    assert f"'{tmp_path}' has no job over files: give the folder" in refusal(
        "report", str(tmp_path)
    )
    assert "unknown argument '--too=y'. Did you mean '--to'?" in refusal("report", "x", "--too=y")


def test_without_the_charting_library_one_line_says_what_to_install(
    tmp_path: Path, refusal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = output_of(tmp_path / "out", "text-classification", TEXT, ROWS)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    said = refusal("report", output)
    assert said == (
        "the charts of a report need matplotlib: pip install 'pipelines-beam[report]'\n"
    )

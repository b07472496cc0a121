"""Sources whose columns nobody can know are refused; nulls are what is not given."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.jobs import LOG, chain, job

from pipelines_beam import sources

Refusal = Callable[..., str]


@pytest.mark.parametrize(
    ("kind", "content", "said"),
    [
        ("ReadFromJson", "", "has no rows: its columns are unknown"),
        ("ReadFromJson", "\n  \n\r\n", "has no rows: its columns are unknown"),
        ("ReadFromCsv", "", "has no header: its columns are unknown"),
        ("ReadFromCsv", "\ufeff\n\n", "has no header: its columns are unknown"),
    ],
)
def test_a_file_without_rows_is_named(
    kind: str, content: str, said: str, refusal: Refusal, tmp_path: Path
) -> None:
    (tmp_path / "in.1").write_text(content, encoding="utf-8")
    for path in (f"{tmp_path}/in.1", f"{tmp_path}/in.*"):
        read = {"type": kind, "config": {"path": path}}
        found = refusal("run", job(tmp_path, chain(read, LOG)))
        assert f'"{kind}" at line ' in found
        assert path in found
        assert said in found if path.endswith("1") else "the first file that matches, " in found
        assert "StopIteration" not in found
        assert len(found) < 600
    missing = {"type": kind, "config": {"path": f"{tmp_path}/none.*"}}
    assert "no files that match" in refusal("run", job(tmp_path, chain(missing, LOG)))


LIST = r"got \[.*\. A file that is one JSON list is read with lines: false"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("\n{}\n", r'line 2 of .* must be an object such as \{"text": "…"\}, got \{\}$'),
        ('null\n{"text": "a"}\n', "line 1 of .* must be an object .* got None$"),
        ('{"text": "a"}\n\n[1]\n', r"line 3 of .* must be an object .* got \[1\]$"),
        ('{"text": "a"}{"text": "b"}\n', "line 1 of .* is not JSON: Extra data"),
        ('{"text": "a"}\n{"text": "b"\n', "line 2 of .* is not JSON: Expecting ','"),
        ('[{"text": "a"}]\n', LIST),
        ('[\n{"text": "a"}\n]\n', "line 1 of .* is not JSON: .* is read with lines: false"),
        ('\ufeff{"text": "a"}\n', "begins with a byte order mark"),
    ],
)
def test_a_line_that_is_no_object_is_named(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        sources.check("ReadFromJson", {"path": f"{tmp_path}/in.jsonl", "__line__": 3})


@pytest.mark.parametrize(
    ("content", "more"),
    [
        ('\n\n{"text": "a"}\n \n{"text": "b"}', {}),
        ('{"text": "a\tb"}\r\n\r\n', {}),
        ('{"text": "a",}\n{}\n{"text": "b", }\n', {}),
        ('[{"text": "a"}]', {"lines": False}),
        ('{"0": {"text": "a"}}', {"lines": False, "orient": "index"}),
        ('{"text": "' + "a" * 70_000 + '"}', {}),
    ],
)
def test_a_file_that_beam_reads(content: str, more: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(content, encoding="utf-8")
    sources.check("ReadFromJson", {"path": f"{tmp_path}/in.jsonl", **more})


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ([None, None], '"Create" at line 3: all elements are null'),
        ([{"id": 1, "text": None}, {"id": 2}], "the column 'text' is null in all elements"),
    ],
)
def test_elements_that_are_all_null(
    elements: list[Any], said: str, refusal: Refusal, tmp_path: Path
) -> None:
    create = {"type": "Create", "config": {"elements": elements}}
    assert said in refusal("run", job(tmp_path, chain(create, LOG)))


def test_what_is_null_in_a_transform_is_not_given() -> None:
    log = {"type": "LogForTesting", "name": "Log", "config": None}
    task = {"type": "FillMask", "config": {"input": None, "error_handling": None, "top_k": None}}
    inner = {"type": "chain", "transforms": [task], "sink": log}
    found = sources.without_nulls({"pipeline": {"type": "composite", "transforms": [inner, log]}})
    assert found["pipeline"]["transforms"][0] == {
        "type": "chain",
        "transforms": [{"type": "FillMask", "config": {"input": None, "top_k": None}}],
        "sink": {"type": "LogForTesting", "name": "Log"},
    }
    assert log["config"] is None


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ([{"text": "a"}, {"text": datetime.date(2020, 1, 2)}], "element 1, column 'text': 2020"),
        ([datetime.datetime(2020, 1, 2, 3)], "element 0: 2020-01-02 03:00:00"),
    ],
)
def test_a_date_says_how_it_is_a_text(elements: list[Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"{said}.* is a date.* in quotes it is a text, '2020-01"):
        sources.check("Create", {"elements": elements})
